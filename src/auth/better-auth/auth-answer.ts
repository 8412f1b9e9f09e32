import type { Response } from 'express';

export interface AuthAnswer {
  status: number;
  headers: Record<string, string>;
  cookies: string[];
  body: string;
}

export function sendAuthAnswer(response: Response, { status, headers, cookies, body }: AuthAnswer): void {
  for (const cookie of cookies) response.append('set-cookie', cookie);
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  response.status(status).end(body);
}
