import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { createProgram } from '../../src/cli/program.js';

interface Help {
  name: string;
  help: string;
}

/** The help of the program and of each command, as `--help` prints it. */
function readHelp(): Help[] {
  const program = createProgram();
  const all = [program, ...program.commands.flatMap((one) => (one.commands.length === 0 ? [one] : one.commands))];
  return all.map((command) => {
    let help = '';
    command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
    return { name: nameOf(command, program), help: help.trimEnd() };
  });
}

function nameOf(command: Command, program: Command): string {
  if (command === program) return 'Overview';
  return command.parent === program ? command.name() : `${command.parent!.name()} ${command.name()}`;
}

describe('the help of the command line', () => {
  const helps = readHelp();

  it('equals docs/cli.md', () => {
    const documented = [...readFileSync('docs/cli.md', 'utf8').matchAll(/^## (.+)\n(?:(?!^## )[^])*?^```text\n([^]*?)\n```$/gm)];
    expect(documented.map(([, name, help]) => ({ name, help }))).toEqual(helps);
  });

  it('has a description and an example for every command', () => {
    const [, ...commands] = helps;
    expect(commands.length).toBeGreaterThan(10);
    for (const { name, help } of commands)
      expect(help).toMatch(new RegExp(`^Usage: npm run cli -- ${name}.*\n\n[A-Z][^]*\nExamples?:\n  npm run cli -- ${name}`));
  });
});
