import { registerHooks } from 'node:module';

const OWN = ['../', '../../test/'].map((folder) => new URL(folder, import.meta.url).href);

/** Benchmarks and simulations import `../src/x.js` for its types, and this resolves it to `dist`, the build that ships. */
registerHooks({
  resolve(specifier, context, next) {
    if (!specifier.startsWith('.') || !OWN.some((folder) => context.parentURL?.startsWith(folder))) return next(specifier, context);
    const own = !/^(\.\.\/)+src\//.test(specifier);
    return next(own ? specifier.replace(/\.js$/, '.ts') : specifier.replace('/src/', '/dist/'), context);
  },
});
