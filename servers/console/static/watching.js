// Reading something again and again, but only while somebody looks at it; and the time of day as the tabs write it.

const EVERY_MS = 2000;

// Calls `read` at once and every 2 s as long as `panel` is shown; returns what to call when it is shown. A reading
// that takes longer is waited for.
export function whileShown(panel, read) {
  let isReading = false;
  const look = async () => {
    if (panel.hidden || isReading || document.visibilityState !== "visible") return;
    isReading = true;
    try {
      await read();
    } finally {
      isReading = false;
    }
  };
  setInterval(look, EVERY_MS);
  return look;
}

// "14:02:20.655", in the reader's own time zone.
export function clock(at) {
  const time = new Date(at);
  return `${time.toTimeString().slice(0, 8)}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}
