/** Loaded before a program: its clock is `CLOCK_SHIFT_MS` ahead, or behind if that is negative. */
const shift = Number(process.env.CLOCK_SHIFT_MS);
const RealDate = Date;
const now = () => RealDate.now() + shift;

const ShiftedDate = new Proxy(RealDate, {
  construct: (_, given, newTarget) => Reflect.construct(RealDate, given.length === 0 ? [now()] : given, newTarget),
  apply: () => new RealDate(now()).toString(),
  get: (_, name) => (name === 'now' ? now : Reflect.get(RealDate, name)),
});
RealDate.prototype.constructor = ShiftedDate;
globalThis.Date = ShiftedDate;
