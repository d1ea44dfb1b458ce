// Every word on the page, Korean first. `t(name, {field})` fills {field} in.

const TEXTS = {
  ko: {
    title: "동네 허브 콘솔",
    tagline: "제주 43개 동네, 한 번의 급한 질문이 닿는 길",
    docs: "API 문서",
    people: "사람 고르기",
    peopleHint: "고르면 이 페이지 안에 그 사람의 휴대폰이 켜져요. 여러 명을 함께 켤 수 있어요.",
    anotherTraveller: "+ 새 여행자",
    map: "지도",
    mapHint: "지도를 눌러 질문할 곳을 고르세요.",
    "view.island": "섬 전체",
    "view.north": "제주시",
    "view.south": "서귀포",
    online: "접속 중",
    offline: "꺼짐",
    ask: "급하게 묻기",
    asker: "묻는 사람",
    questionTitle: "제목",
    questionContent: "내용",
    place: "장소",
    placeNear: "{name} 근처",
    placeExact: "지도에서 고른 곳 ({name})",
    send: "급하게 묻기",
    exampleTitle: "지금 문 연 약국 있나요?",
    exampleContent: "일행이 열이 나요. 연동에서 걸어갈 수 있는 약국을 찾고 있어요.",
    needAsker: "먼저 묻는 사람을 켜 주세요.",
    phones: "휴대폰",
    noPhones: "위에서 여행자 한 명과 주민 몇 명을 골라 보세요.",
    traveller: "여행자",
    local: "인증된 주민",
    "state.off": "꺼짐",
    "state.connecting": "연결 중",
    "state.on": "연결됨",
    recovered: "복구됨",
    fresh: "새 연결",
    latency: "{ms} ms 만에 도착",
    latencyHint: "질문이 쓰인 시각(createdAt)부터 이 화면까지",
    drop: "끊어 보기",
    dropHint: "네트워크가 끊긴 것처럼 연결을 닫아요. 순정 클라이언트가 스스로 돌아와요.",
    unread: "안 읽음",
    points: "포인트",
    quiet: "아직 온 알림이 없어요.",
    mine: "내 질문",
    urgent: "급한 질문",
    away: "{distance} 거리",
    left: "{time} 남음",
    over: "시간이 지났어요",
    "questionState.answered": "답변이 달렸어요",
    "questionState.closed": "닫힌 질문이에요",
    "questionState.expired": "시간이 지났어요",
    waiting: "주변 2 km의 화면에 바로 알렸어요. 답변을 기다리는 중…",
    answerHere: "답변 쓰기",
    answer: "답변하기",
    exampleAnswer: "연동 사거리 약국이 밤 10시까지 열어요.",
    myAnswer: "내 답변",
    accept: "채택하기",
    accepted: "채택됨",
    gained: "+{points} 포인트",
    inbox: "받은 알림",
    readAll: "모두 읽음",
    emptyInbox: "비어 있어요.",
    events: "소켓 이벤트",
    pushed: "푸시",
    caught: "푸시와 메일",
    caughtHint: "이 컴퓨터의 수신함이 잡은 것이에요. 밖으로는 아무것도 나가지 않아요.",
    noCatcher: "SMTP_URL이나 FCM_CREDENTIALS_FILE이 정해져 있어서 수신함이 꺼져 있어요.",
    noneCaught: "아직 없어요. 한 사람을 끄고 그 근처에서 급하게 물어보세요.",
    catcherAway: "수신함과 연결이 끊겼어요. 다시 시도하는 중…",
    mail: "메일",
    push: "푸시",
    silent: "무음 푸시",
    "code.RATE_LIMITED": "조금 많이 하셨어요.",
    "code.CONFLICT": "지금은 할 수 없어요.",
    "code.FORBIDDEN": "허용되지 않아요.",
    "code.INVALID_PAYLOAD": "형식이 맞지 않아요.",
    "code.UNAVAILABLE": "잠시 뒤에 다시 해 주세요.",
    "code.UNREACHABLE": "허브에 닿지 않아요.",
  },
  en: {
    title: "Dongne Hub console",
    tagline: "43 neighbourhoods of Jeju, and the way of one urgent question",
    docs: "API docs",
    people: "Pick people",
    peopleHint: "Each one gets a phone on this page. Several can be on at the same time.",
    anotherTraveller: "+ new traveller",
    map: "Map",
    mapHint: "Click the map to choose where the question is.",
    "view.island": "Island",
    "view.north": "Jeju-si",
    "view.south": "Seogwipo",
    online: "connected",
    offline: "off",
    ask: "Ask urgently",
    asker: "Who asks",
    questionTitle: "Title",
    questionContent: "Question",
    place: "Place",
    placeNear: "near {name}",
    placeExact: "chosen on the map ({name})",
    send: "Ask urgently",
    exampleTitle: "Is a pharmacy open now?",
    exampleContent: "One of us has a fever. We look for a pharmacy in walking distance.",
    needAsker: "Switch on somebody who asks first.",
    phones: "Phones",
    noPhones: "Pick a traveller and some locals above.",
    traveller: "traveller",
    local: "verified local",
    "state.off": "off",
    "state.connecting": "connecting",
    "state.on": "connected",
    recovered: "recovered",
    fresh: "new session",
    latency: "arrived in {ms} ms",
    latencyHint: "From the moment it was written (createdAt) to this screen",
    drop: "Drop",
    dropHint: "Closes the connection as a lost network does. The stock client comes back by itself.",
    unread: "unread",
    points: "points",
    quiet: "No alert yet.",
    mine: "My question",
    urgent: "Urgent question",
    away: "{distance} away",
    left: "{time} left",
    over: "time is up",
    "questionState.answered": "Answered",
    "questionState.closed": "Closed",
    "questionState.expired": "Time is up",
    waiting: "Shown at once on the screens within 2 km. Waiting for an answer…",
    answerHere: "Write an answer",
    answer: "Answer",
    exampleAnswer: "The pharmacy at the crossing is open until 10 pm.",
    myAnswer: "My answer",
    accept: "Accept",
    accepted: "Accepted",
    gained: "+{points} points",
    inbox: "Inbox",
    readAll: "Read all",
    emptyInbox: "Empty.",
    events: "Socket events",
    pushed: "Push",
    caught: "Pushes and mails",
    caughtHint: "Caught on this machine. Nothing leaves it.",
    noCatcher: "The catcher is off: SMTP_URL or FCM_CREDENTIALS_FILE is set.",
    noneCaught: "None yet. Switch somebody off and ask urgently near them.",
    catcherAway: "The catcher is away. Trying again…",
    mail: "mail",
    push: "push",
    silent: "silent push",
    "code.RATE_LIMITED": "That was a little too often.",
    "code.CONFLICT": "Not possible now.",
    "code.FORBIDDEN": "Not allowed.",
    "code.INVALID_PAYLOAD": "Not of the required form.",
    "code.UNAVAILABLE": "Please try again in a moment.",
    "code.UNREACHABLE": "The hub cannot be reached.",
  },
};

let language = localStorage.getItem("language") === "en" ? "en" : "ko";

export const lang = () => language;

export function speak(wanted) {
  language = wanted;
  localStorage.setItem("language", wanted);
}

export function t(name, fields = {}) {
  const text = TEXTS[language][name] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, field) => fields[field] ?? "");
}

const SUFFIXES = { 읍: "-eup", 면: "-myeon", 동: "-dong" };

/** 연동, or Yeon-dong: the hub has Korean names and romanised codes. */
export function placeName({ code, name }) {
  if (language === "ko") return name;
  const word = code[0].toUpperCase() + code.slice(1).replace(/(\d)$/, " $1");
  return word + (SUFFIXES[name.at(-1)] ?? "");
}

export const distanceText = (metres) =>
  metres < 950 ? `${Math.max(50, Math.round(metres / 50) * 50)} m` : `${(metres / 1000).toFixed(1)} km`;

export const clockText = (moment) =>
  new Date(moment).toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

export function leftText(deadline) {
  const seconds = Math.floor((Date.parse(deadline) - Date.now()) / 1000);
  if (seconds <= 0) return t("over");
  return t("left", { time: `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}` });
}
