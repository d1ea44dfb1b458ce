// The hub's REST API as one person sees it, and tokens.

export class CodedError extends Error {
  constructor({ code, message, requestId }) {
    super(message);
    Object.assign(this, { code, requestId });
  }
}

async function answerOf(request) {
  const response = await request.catch(() => {
    throw new CodedError({ code: "UNREACHABLE", message: "" });
  });
  if (response.status === 204) return null;
  const body = await response.json();
  if (!response.ok) throw new CodedError(body.error);
  return body;
}

const post = (body) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

/** In your product the app asks its own server, which knows who is signed in. */
export async function fetchToken({ id, nickname }) {
  const body = await answerOf(fetch("/console/token", post({ userId: id, nickname })));
  return body.accessToken;
}

const OPERATOR = "console-operator";
let operatorToken = null;

/** Why somebody was told of a question, or was not: for administrators. */
export async function explain(userId, questionId) {
  operatorToken ??= await fetchToken({ id: OPERATOR });
  const renew = async () => { operatorToken = await fetchToken({ id: OPERATOR }); return operatorToken; };
  const path = `/explain?${new URLSearchParams({ userId, questionId })}`;
  return call({ method: "GET", path, token: operatorToken, renew });
}

export const config = () => answerOf(fetch("/console/config.json"));

export const neighbourhoods = async () =>
  (await answerOf(fetch("/api/v1/neighbourhoods?region=jeju"))).items;

/** `renew` is called once if the token has expired meanwhile. POSTs carry an Idempotency-Key. */
export async function call({ method, path, body, token, renew }) {
  const key = crypto.randomUUID();
  const send = (accessToken) => {
    const headers = { Authorization: `Bearer ${accessToken}` };
    if (body) headers["Content-Type"] = "application/json";
    if (method === "POST") headers["Idempotency-Key"] = key;
    return answerOf(fetch(`/api/v1${path}`, { method, headers, body: body && JSON.stringify(body) }));
  };
  try {
    return await send(token);
  } catch (error) {
    if (error.code !== "TOKEN_EXPIRED") throw error;
    return send(await renew());
  }
}
