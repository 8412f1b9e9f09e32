import { registerHooks } from 'node:module';

const found = new Map();

/**
 * Before a program of ours: it starts in two thirds of its time. Node reads the whole `package.json` anew for each
 * import of a package and each file in it, and Drizzle's has 180 KB.
 */
registerHooks({
  resolve(specifier, context, next) {
    const isOfDrizzle = context.parentURL?.includes('/node_modules/drizzle-orm/') ?? false;
    if (isOfDrizzle && specifier.startsWith('.') && specifier.endsWith('.js')) {
      return { url: new URL(specifier, context.parentURL).href, format: 'module', shortCircuit: true };
    }
    // One folder of packages: what a name means does not depend on where in `dist` it stands.
    if (!/^[@a-z]/.test(specifier) || context.parentURL?.includes('/node_modules/')) return next(specifier, context);
    const known = found.get(specifier) ?? { ...next(specifier, context), shortCircuit: true };
    found.set(specifier, known);
    return known;
  },
});
