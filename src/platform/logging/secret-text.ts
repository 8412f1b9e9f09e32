/** Forms of secrets that messages of libraries may quote: API keys, tokens of providers, sessions, JWTs, headers, links, URLs with a password. */
const FORMS = [
  /\b(?:tnt_(?:live|test)|whsec|sk_(?:live|test)|polar_\w+?)_[\w+/=-]{16,}/g,
  /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g,
  /\b[\dA-Za-z]{32}\.(?:[\dA-Za-z+/]|%2[BF]){40,}(?:=|%3D)*/gi,
  /(?<=\b(?:Bearer|Basic)(?: |%20)+)[^\s"']+/gi,
  /(?<=[?&](?:token|code|state|key|secret|password)=)[^&\s"']+/gi,
  /(?<=:\/\/)[^\s/@]*:[^\s/@]*(?=@)/g,
];

export function withoutSecrets(text: string): string {
  return FORMS.reduce((shown, form) => shown.replace(form, '[redacted]'), text);
}
