// Arithmetic on vectors, as arrays of numbers.

export function dot(a, b) {
  return a.reduce((sum, value, place) => sum + value * b[place], 0);
}

export function norm(vector) {
  return Math.sqrt(dot(vector, vector));
}

// -1…1; 0 where one of them has no direction.
export function cosine(a, b) {
  const lengths = norm(a) * norm(b);
  return lengths ? dot(a, b) / lengths : 0;
}

export function cosines(vectors) {
  return vectors.map((row) => vectors.map((column) => cosine(row, column)));
}

export function largestDifference(a, b) {
  return a.reduce((most, value, place) => Math.max(most, Math.abs(value - b[place])), 0);
}
