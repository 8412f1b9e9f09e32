import { createHash } from 'node:crypto';

const STYLE = `
:root{color-scheme:light dark}
body{margin:0;font:16px/1.5 system-ui,sans-serif;background:#f5f5f4;color:#1c1917}
main{box-sizing:border-box;max-width:27rem;margin:8vh auto;padding:2rem;background:#fff;border:1px solid #e7e5e4;border-radius:12px}
h1{margin:0 0 .75rem;font-size:1.375rem;line-height:1.3}
p{margin:0 0 1.25rem}
label{display:block;margin:0 0 1.25rem;font-weight:600}
input[type=password]{box-sizing:border-box;display:block;width:100%;margin-top:.375rem;padding:.625rem .75rem;font:inherit;color:inherit;background:transparent;border:1px solid #a8a29e;border-radius:8px}
button,a.button{display:inline-block;padding:.625rem 1.125rem;font:inherit;font-weight:600;color:#fff;background:#1d4ed8;border:1px solid #1d4ed8;border-radius:8px;text-decoration:none;cursor:pointer}
button.quiet{color:#b91c1c;background:transparent;border-color:#b91c1c}
:focus-visible{outline:3px solid #93c5fd;outline-offset:2px}
.hint{font-size:.875rem;opacity:.8}
.error{padding:.75rem 1rem;color:#7f1d1d;background:#fef2f2;border-radius:8px}
aside{margin-top:1.75rem;padding-top:1.5rem;border-top:1px solid #e7e5e4}
@media(prefers-color-scheme:dark){body{background:#0c0a09;color:#fafaf9}main{background:#1c1917;border-color:#44403c}aside{border-color:#44403c}button.quiet{color:#fca5a5;border-color:#fca5a5}}
@media(max-width:30rem){main{margin:0;border:0;border-radius:0;min-height:100vh}}`;

const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');

/** No scripts, no resources, no frames, and no referrer, because the URL contains the token. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
  'x-robots-tag': 'noindex',
};

interface Form {
  action: string;
  button: string;
  fields: Record<string, string | undefined>;
  needsPassword: boolean;
}

export interface LinkPage {
  title: string;
  text: string;
  error?: string;
  form?: Form;
  alternative?: { text: string; form: Form };
  continueTo?: string;
}

export function renderPage({ title, text, error, form, alternative, continueTo }: LinkPage): string {
  const refresh = continueTo === undefined ? '' : `<meta http-equiv="refresh" content="0; url=${escapeHtml(continueTo)}">`;
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>${escapeHtml(title)}</title>${refresh}<style>${STYLE}</style></head>
<body><main>
<h1>${escapeHtml(title)}</h1>
${error === undefined ? '' : `<p class="error" role="alert">${escapeHtml(error)}</p>`}
<p>${escapeHtml(text)}</p>
${form === undefined ? '' : renderForm(form)}
${continueTo === undefined ? '' : `<a class="button" href="${escapeHtml(continueTo)}">Continue</a>`}
${alternative === undefined ? '' : `<aside><p>${escapeHtml(alternative.text)}</p>${renderForm(alternative.form, 'quiet')}</aside>`}
</main></body>
</html>
`;
}

const PASSWORD = `<label>Password of the account<input type="password" name="password" autocomplete="current-password" maxlength="128" required></label>
<p class="hint">No password? Open this link in the browser where you are signed in and requested it.</p>`;

function renderForm({ action, button, fields, needsPassword }: Form, className = ''): string {
  const hidden = Object.entries(fields).map(([name, value]) =>
    value === undefined ? '' : `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`,
  );
  return `<form method="post" action="${escapeHtml(action)}">${hidden.join('')}${needsPassword ? PASSWORD : ''}<button class="${className}">${escapeHtml(button)}</button></form>`;
}

export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
