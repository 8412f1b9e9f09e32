import { registerHooks } from 'node:module';

// Loaded before the program: prints each import of OpenTelemetry. Better Auth and prom-client import its interface by themselves.
registerHooks({
  resolve(specifier, context, next) {
    const by = context.parentURL?.includes('/node_modules/') === true ? 'a library' : 'us';
    if (specifier.startsWith('@opentelemetry/')) process.stderr.write(`imported ${specifier} by ${by}\n`);
    return next(specifier, context);
  },
});
