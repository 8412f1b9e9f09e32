// Loaded with NODE_OPTIONS=--import into the program under test: it prints how long the event loop was held. Processor time of the main
// thread and not the clock, because other processes of the machine are not this one's fault.

const TICK_MS = 10;
const HELD_MS = 100;

const used = () => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};

// Node before 23.9 cannot measure it.
if (process.threadCpuUsage !== undefined) {
  let before = used();
  let ticked = performance.now();
  setInterval(() => {
    const [now, time] = [used(), performance.now()];
    // Several turns of the loop cannot fall between two ticks of which the second is late.
    const held = Math.min(now - before, time - ticked - TICK_MS);
    if (held > HELD_MS) process.stderr.write(`event loop held for ${Math.round(held)} ms\n`);
    [before, ticked] = [now, time];
  }, TICK_MS).unref();
}
