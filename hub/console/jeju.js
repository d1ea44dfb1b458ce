// Jeju on a plane: its outline, and from degrees to the picture and back.

/** Drawn by hand along the coast, [lng, lat], clockwise from Hallim. */
export const COAST = [
  [126.258, 33.417], [126.285, 33.437], [126.305, 33.45], [126.32, 33.466], [126.34, 33.469],
  [126.372, 33.481], [126.4, 33.488], [126.428, 33.498], [126.452, 33.5], [126.465, 33.511],
  [126.487, 33.516], [126.512, 33.518], [126.524, 33.521], [126.542, 33.524], [126.552, 33.521],
  [126.567, 33.529], [126.588, 33.529], [126.615, 33.54], [126.636, 33.547], [126.652, 33.541],
  [126.668, 33.547], [126.695, 33.554], [126.718, 33.556], [126.745, 33.562], [126.77, 33.557],
  [126.796, 33.56], [126.815, 33.556], [126.832, 33.545], [126.848, 33.534], [126.868, 33.529],
  [126.9, 33.524], [126.908, 33.508], [126.902, 33.488], [126.909, 33.474], [126.924, 33.468],
  [126.943, 33.462], [126.934, 33.447], [126.924, 33.437], [126.933, 33.423], [126.917, 33.414],
  [126.902, 33.4], [126.88, 33.383], [126.856, 33.355], [126.846, 33.33], [126.828, 33.313],
  [126.8, 33.305], [126.772, 33.297], [126.745, 33.286], [126.72, 33.274], [126.69, 33.272],
  [126.662, 33.267], [126.64, 33.26], [126.622, 33.25], [126.602, 33.238], [126.583, 33.241],
  [126.563, 33.237], [126.543, 33.238], [126.517, 33.232], [126.496, 33.232], [126.478, 33.225],
  [126.458, 33.231], [126.435, 33.236], [126.41, 33.241], [126.386, 33.234], [126.36, 33.233],
  [126.337, 33.237], [126.315, 33.23], [126.303, 33.22], [126.291, 33.199], [126.275, 33.206],
  [126.25, 33.209], [126.236, 33.228], [126.212, 33.246], [126.184, 33.268], [126.164, 33.292],
  [126.162, 33.312], [126.168, 33.332], [126.174, 33.35], [126.198, 33.366], [126.226, 33.389],
  [126.24, 33.396],
];

/** Udo, Biyangdo, Gapado: [lng, lat, radius in degrees of latitude]. */
export const ISLETS = [
  [126.953, 33.505, 0.0165],
  [126.228, 33.41, 0.005],
  [126.272, 33.171, 0.005],
];

/** Chuja lies 45 km to the north: drawn in a box of its own. */
export const CHUJA = { lng: 126.299, lat: 33.961, shownAt: { lng: 126.215, lat: 33.595 } };

export const SUMMIT = [126.533, 33.362];

/** Degrees: what each view shows. */
export const VIEWS = {
  island: { west: 126.13, east: 127.0, south: 33.155, north: 33.64 },
  north: { west: 126.415, east: 126.615, south: 33.454, north: 33.548 },
  south: { west: 126.37, east: 126.64, south: 33.214, north: 33.3 },
};

const UNITS = 1200; // of the picture, for one degree of latitude
const NARROWING = Math.cos((33.38 * Math.PI) / 180);
const ORIGIN = { lng: 126.1, lat: 33.65 };

const inChuja = ({ lat }) => lat > 33.8;
const moved = (spot, from, to) => ({
  lng: spot.lng - from.lng + to.lng,
  lat: spot.lat - from.lat + to.lat,
});

export function project(spot) {
  const { lng, lat } = inChuja(spot) ? moved(spot, CHUJA, CHUJA.shownAt) : spot;
  return { x: (lng - ORIGIN.lng) * NARROWING * UNITS, y: (ORIGIN.lat - lat) * UNITS };
}

export function unproject({ x, y }) {
  const spot = { lng: x / NARROWING / UNITS + ORIGIN.lng, lat: ORIGIN.lat - y / UNITS };
  const box = CHUJA.shownAt;
  const inBox = Math.abs(spot.lng - box.lng) < 0.05 && Math.abs(spot.lat - box.lat) < 0.03;
  return inBox ? moved(spot, box, CHUJA) : spot;
}

/** A view around a spot, wide enough for the circle of every wave but the region's. */
export function around({ lat, lng }) {
  const { west, east, south, north } = VIEWS.island;
  const [high, wide] = [0.057, (0.057 * (east - west)) / (north - south)];
  return { west: lng - wide, east: lng + wide, south: lat - high, north: lat + high };
}

/** A view as the picture's viewBox. */
export function frame({ west, east, south, north }) {
  const from = project({ lng: west, lat: north });
  const to = project({ lng: east, lat: south });
  return { x: from.x, y: from.y, width: to.x - from.x, height: to.y - from.y };
}

/** Metres as units of the picture. */
export const units = (metres) => (metres / 111_195) * UNITS;

/** Metres, on the small plane that Jeju is. */
export function distance(a, b) {
  const north = (a.lat - b.lat) * 111_195;
  const east = (a.lng - b.lng) * 111_195 * NARROWING;
  return Math.hypot(north, east);
}

export function nearest(spot, neighbourhoods) {
  const away = (one) => distance(spot, one);
  return neighbourhoods.reduce((best, one) => (away(one) < away(best) ? one : best));
}

/** A closed curve through points of the picture (Catmull-Rom as Bézier). */
export function curve(points) {
  const at = (i) => points[(i + points.length) % points.length];
  const round = (n) => n.toFixed(1);
  const pieces = points.map((_, i) => {
    const [p0, p1, p2, p3] = [at(i - 1), at(i), at(i + 1), at(i + 2)];
    const c1 = [p1.x + (p2.x - p0.x) / 6, p1.y + (p2.y - p0.y) / 6];
    const c2 = [p2.x - (p3.x - p1.x) / 6, p2.y - (p3.y - p1.y) / 6];
    return `C${[...c1, ...c2, p2.x, p2.y].map(round).join(" ")}`;
  });
  return `M${round(points[0].x)} ${round(points[0].y)}${pieces.join("")}Z`;
}
