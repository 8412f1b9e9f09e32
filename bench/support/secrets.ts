export const AUTH_SECRET = 'a benchmark secret that is long enough';
