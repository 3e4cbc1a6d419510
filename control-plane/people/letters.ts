import type { OutgoingMail } from './mailer.ts';

/** The mail with the code that opens an account. */
export function activationMail(to: string, identity: string, code: string): OutgoingMail {
  return {
    to,
    subject: 'Your triggerFS activation code',
    text: [
      `Welcome to triggerFS, ${identity}.`,
      '',
      `Your activation code is ${code}`,
      '',
      'It is good for 24 hours. If you did not sign up, ignore this mail.',
      '',
    ].join('\n'),
  };
}

/** The mail to someone whose address was used to sign up once more. */
export function knownAddressMail(to: string, identity: string): OutgoingMail {
  return {
    to,
    subject: 'You have a triggerFS account already',
    text: [
      'Somebody signed up to triggerFS with this mail address.',
      '',
      `It belongs to the account ${identity} already; log in with that one. If it was not you, ignore this mail.`,
      '',
    ].join('\n'),
  };
}

/** The mail to someone who is invited; `hasAccount` tells what they have to do. */
export function inviteMail(to: string, invite: { team: string; role: string; invitedBy: string; hasAccount: boolean }): OutgoingMail {
  const { team, role, invitedBy, hasAccount } = invite;
  return {
    to,
    subject: `Invitation to the triggerFS team ${team}`,
    text: [
      `${invitedBy} invites you to the team ${team} as ${role}.`,
      '',
      hasAccount
        ? 'Log in with triggerfs-cli and accept or decline the invitation there.'
        : `Sign up with this mail address (${to}); the invitation waits for you in triggerfs-cli.`,
      '',
      'It ends after 14 days.',
      '',
    ].join('\n'),
  };
}
