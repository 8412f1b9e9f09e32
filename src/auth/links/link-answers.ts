import type { Request, Response } from 'express';
import { type LinkPage, PAGE_HEADERS, renderPage } from './link-page.js';
import { AUTH_BASE_PATH } from './mail-link.js';

export interface LinkCopy {
  action: string;
  title: string;
  text: string;
  button: string;
  done: { title: string; text: string };
  rejection?: { action: string; text: string; button: string };
}

const REJECTION = `${AUTH_BASE_PATH}/verify-email/reject`;

export const LINK_PAGES = {
  verification: {
    action: `${AUTH_BASE_PATH}/verify-email`,
    title: 'Confirm your email address',
    text: 'Confirm that this email address belongs to the account that you signed up for.',
    button: 'Confirm',
    done: { title: 'Your email address is confirmed', text: 'You can close this page.' },
    rejection: {
      action: REJECTION,
      text: 'Did someone else sign up with your email address? You can remove that account.',
      button: 'I did not sign up',
    },
  },
  rejection: {
    action: REJECTION,
    title: 'Remove the account',
    text: 'Remove the account that someone else created with your email address.',
    button: 'I did not sign up',
    done: { title: 'The account was removed', text: 'Your email address is no longer used. You can close this page.' },
  },
  emailChange: {
    action: `${AUTH_BASE_PATH}/change-email/confirm`,
    title: 'Confirm your new email address',
    text: 'Confirm that this email address is yours. It then becomes the address of your account. If you did not request this, close this page.',
    button: 'Confirm',
    done: { title: 'Your email address was changed', text: 'Sign in with your new address from now on.' },
  },
} as const satisfies Record<string, LinkCopy>;

export type LinkAnswer =
  { kind: 'done'; copy: LinkCopy; continueTo?: string } | { kind: 'page'; page: LinkPage } | { kind: 'redirect'; to: string };

interface Offer {
  token: string;
  callbackURL?: string;
  needsPassword: boolean;
  error?: string;
}

export function confirmed(copy: LinkCopy, continueTo: string | undefined): LinkAnswer {
  return { kind: 'done', copy, continueTo };
}

/** Redirects to a page with `?error=`, as Better Auth does for a link that does not work. */
export function redirectWithError(page: string, error: string): LinkAnswer {
  const to = new URL(page);
  to.searchParams.set('error', error);
  return { kind: 'redirect', to: to.href };
}

export function offered(copy: LinkCopy, offer: Offer): LinkAnswer {
  return { kind: 'page', page: confirmationPage(copy, offer) };
}

export function confirmationPage(
  { title, text, action, button, rejection }: LinkCopy,
  { token, callbackURL, needsPassword, error }: Offer,
): LinkPage {
  const form = { action, button, fields: { token, callbackURL }, needsPassword };
  const alternative = rejection && {
    text: rejection.text,
    form: { action: rejection.action, button: rejection.button, fields: { token }, needsPassword: false },
  };
  return { title, text, error, form, alternative };
}

/** Browsers ask for HTML by name, clients of the API do not. */
export function prefersHtml(request: Request): boolean {
  return request.accepts(['json', 'html']) === 'html';
}

export function sendPage(response: Response, page: LinkPage): void {
  for (const [name, value] of Object.entries(PAGE_HEADERS)) response.setHeader(name, value);
  response.end(renderPage(page));
}

export function sendLinkAnswer(request: Request, response: Response, answer: LinkAnswer): void {
  if (answer.kind === 'redirect') return response.redirect(302, answer.to);
  if (answer.kind === 'page') return sendPage(response, answer.page);
  const { copy, continueTo } = answer;
  const isOpening = request.method === 'GET' || request.method === 'HEAD';
  if (isOpening && continueTo !== undefined) return response.redirect(302, continueTo);
  // No redirect after a form, because browsers apply the page's `form-action` to its target.
  if (prefersHtml(request)) return sendPage(response, { ...copy.done, continueTo });
  response.json({ status: true });
}
