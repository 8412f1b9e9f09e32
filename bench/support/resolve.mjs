import { registerHooks } from 'node:module';

const BENCH = new URL('..', import.meta.url).href;

/** Benchmarks name `../src/x.js`, for its types, and get `dist`, the build that ships; their own files run as they are. */
registerHooks({
  resolve(specifier, context, next) {
    if (!specifier.startsWith('.') || context.parentURL?.startsWith(BENCH) !== true) return next(specifier, context);
    const own = !/^(\.\.\/)+src\//.test(specifier);
    return next(own ? specifier.replace(/\.js$/, '.ts') : specifier.replace('/src/', '/dist/'), context);
  },
});
