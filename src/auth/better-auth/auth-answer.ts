import type { Response } from 'express';

/** A successful response of Better Auth, to be sent as it is. */
export interface AuthAnswer {
  status: number;
  headers: Record<string, string>;
  /** `Set-Cookie` lines. */
  cookies: string[];
  body: string;
}

export function sendAuthAnswer(response: Response, { status, headers, cookies, body }: AuthAnswer): void {
  for (const cookie of cookies) response.append('set-cookie', cookie);
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  response.status(status).end(body);
}
