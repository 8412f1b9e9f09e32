/** Asks again until it is so; fails after a deadline, saying how it was instead. */
export async function until(
  isSo: () => Promise<boolean>,
  describe: () => Promise<string> | string = () => 'it never was',
  deadlineMs = 20_000,
): Promise<void> {
  for (const start = Date.now(); Date.now() - start < deadlineMs;) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`Waited for ${deadlineMs} ms in vain: ${await describe()}`);
}
