import { CommanderError } from 'commander';
import { reportFailure } from './failures.js';
import { createProgram } from './program.js';

// A reader that ends early (`| head`) does not end the command.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

try {
  await createProgram().parseAsync();
} catch (error) {
  // Commander has printed its own message already. Its codes tell help from mistakes, which exit with 2.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else reportFailure(error, 1);
}
