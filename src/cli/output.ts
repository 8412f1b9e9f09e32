export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** The part of a command's help that shows how it is called. */
export function examples(...commands: string[]): string {
  return `\n${commands.length === 1 ? 'Example' : 'Examples'}:\n${commands.map((command) => `  npm run cli -- ${command}`).join('\n')}\n`;
}
