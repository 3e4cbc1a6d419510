import type { Static } from 'typebox';
import { TriggerFsError } from '../../../protocol/errors.ts';
import type { InvitationView, InviteView, Joined } from '../../../protocol/http/invite.ts';
import type { MailList, MailView } from '../../../protocol/http/mailbox.ts';
import type { PlanView } from '../../../protocol/http/plan.ts';
import type { AccountSession, SessionView } from '../../../protocol/http/session.ts';
import { type Call, type Command, EVERYWHERE } from '../command.ts';
import { type Answer, type Column, shownTime, table, text } from '../screen/answer.ts';
import { newPassword } from '../sign-up.ts';

const MAIL: readonly Column<MailView>[] = [
  { title: 'id', of: ({ id }) => id },
  { title: 'to', of: ({ to }) => to },
  { title: 'kind', of: ({ kind }) => kind },
  { title: 'subject', of: ({ subject }) => subject },
  { title: 'received', of: ({ createdAt }) => shownTime(createdAt) },
  { title: 'read', of: ({ readAt }) => (readAt === null ? 'no' : 'yes') },
];

const PLAN: readonly Column<PlanView['limits'][number]>[] = [
  { title: 'resource', of: ({ resource }) => resource },
  { title: 'used', of: ({ used }) => used },
  { title: 'limit', of: ({ limit }) => limit ?? 'unlimited' },
];

const INVITES: readonly Column<InviteView>[] = [
  { title: 'id', of: ({ id }) => id },
  { title: 'invited', of: ({ identity, email }) => identity ?? email ?? '' },
  { title: 'role', of: ({ role }) => role },
  { title: 'by', of: ({ invitedBy }) => invitedBy },
  { title: 'expires', of: ({ expiresAt }) => shownTime(expiresAt) },
];

const INVITATIONS: readonly Column<InvitationView>[] = [
  { title: 'id', of: ({ id }) => id },
  { title: 'team', of: ({ team }) => team },
  { title: 'role', of: ({ role }) => role },
  { title: 'by', of: ({ invitedBy }) => invitedBy },
  { title: 'expires', of: ({ expiresAt }) => shownTime(expiresAt) },
];

const SESSIONS: readonly Column<SessionView>[] = [
  { title: 'id', of: ({ id }) => id },
  { title: 'team', of: ({ team }) => team ?? '' },
  { title: 'from', of: ({ address }) => address },
  { title: 'program', of: ({ agent }) => agent },
  { title: 'login', of: ({ createdAt }) => shownTime(createdAt) },
  { title: 'used', of: ({ usedAt }) => shownTime(usedAt) },
  { title: 'current', of: ({ current }) => (current ? 'yes' : 'no') },
];

/** Commands about people: mail, invitations, sessions, teams, passwords and the plan. */
export const PEOPLE: readonly Command[] = [
  { pattern: 'mail', doc: 'Letters to you and to the team', modes: EVERYWHERE, run: showMail },
  { pattern: 'mail read <letter>', doc: 'Read a letter', modes: EVERYWHERE, run: readMail },
  { pattern: 'show mail', doc: 'Letters to you and to the team', modes: EVERYWHERE, run: showMail },
  { pattern: 'show plan', doc: 'What the team uses of what its plan allows', modes: EVERYWHERE, run: showPlan },
  list('show invites|invite', 'Whom the team has invited', '/v1/invites', INVITES),
  list('show invitations|invitation', 'Teams that you are invited to', '/v1/invitations', INVITATIONS),
  list('show sessions|session', 'Where you are logged in', '/v1/sessions', SESSIONS),
  { pattern: 'request invitation accept <invitation>', doc: 'Join the team that invites you', modes: EVERYWHERE, run: accept },
  { pattern: 'request invitation decline <invitation>', doc: 'Throw an invitation away', modes: EVERYWHERE, run: decline },
  { pattern: 'request session end <session>', doc: 'End a session of yours', modes: EVERYWHERE, run: endSession },
  { pattern: 'request team switch <team>', doc: 'Work in another team of yours', modes: ['run'], run: switchTeam },
  { pattern: 'request team leave', doc: 'Leave the team that you work in', modes: ['run'], run: leaveTeam },
  { pattern: 'request password change', doc: 'Change your password; other sessions end', modes: EVERYWHERE, run: changePassword },
  {
    pattern: 'set users|user identity <name>',
    doc: 'New user in this team; asks for the password',
    options: {
      email: { value: 'address', doc: 'Where mail goes to' },
      role: { value: 'role', choices: ['owner', 'admin', 'member', 'viewer'], doc: 'What they may do; member when absent' },
    },
    modes: ['configure'],
    run: newUser,
  },
];

function list<T>(pattern: string, doc: string, path: string, columns: readonly Column<T>[]): Command {
  return { pattern, doc, modes: EVERYWHERE, run: async (call) => table(columns, await call.connection.list<T>(path, call.signal)) };
}

async function showMail(call: Call): Promise<Answer> {
  return table(MAIL, await call.connection.list<MailView>('/v1/mail', call.signal));
}

async function readMail(call: Call): Promise<Answer> {
  const id = Number(call.values.letter);
  const request = { method: 'GET', path: '/v1/mail?limit=500', signal: call.signal } as const;
  const { items } = await call.connection.call<Static<typeof MailList>>(request);
  const letter = items.find((item) => item.id === id);
  if (letter === undefined) throw new TriggerFsError('TFS_NOT_FOUND', `there is no letter ${call.values.letter}`);
  await call.connection.call({ method: 'POST', path: `/v1/mail/${id}/read` });
  return text([`Subject: ${letter.subject}`, `Received: ${shownTime(letter.createdAt)}`, '', ...letter.body.split('\n')], letter);
}

async function showPlan(call: Call): Promise<Answer> {
  const plan = await call.connection.call<PlanView>({ method: 'GET', path: '/v1/plan', signal: call.signal });
  if (call.pipeline.json) return text([], plan);
  const notes = [
    `plan ${plan.plan}: history of ${plan.historyDays} days, ${plan.publicServices ? 'public services' : 'no public services'}`,
  ];
  return table(PLAN, [...plan.limits], notes);
}

async function accept(call: Call): Promise<Answer> {
  const path = `/v1/invitations/${encodeURIComponent(call.values.invitation ?? '')}/accept`;
  const joined = await call.connection.call<Joined>({ method: 'POST', path });
  return text([`You are ${joined.role} of the team ${joined.team} now. To work in it, enter: request team switch ${joined.team}`], joined);
}

async function decline(call: Call): Promise<null> {
  await call.connection.call({ method: 'POST', path: `/v1/invitations/${encodeURIComponent(call.values.invitation ?? '')}/decline` });
  return null;
}

async function endSession(call: Call): Promise<null> {
  await call.connection.call({ method: 'DELETE', path: `/v1/sessions/${encodeURIComponent(call.values.session ?? '')}` });
  return null;
}

async function switchTeam(call: Call): Promise<null> {
  await call.shell.connect(await call.connection.inTeam(call.values.team ?? ''));
  return null;
}

async function leaveTeam(call: Call): Promise<Answer> {
  const team = await call.connection.team();
  const account = await call.connection.call<AccountSession>({ method: 'POST', path: '/v1/leave', body: { team } });
  await call.shell.connect(call.connection.withSession(account));
  return text([`You have left the team ${team}.`], { team });
}

async function changePassword(call: Call): Promise<Answer> {
  const secret = await call.screen.ask('Current password: ', true);
  const newSecret = await newPassword(call.screen);
  await call.connection.call({ method: 'PUT', path: '/v1/password', body: { secret, newSecret } });
  await call.shell.connect(await call.connection.withSecret(newSecret));
  return text(['The password is changed. Other sessions have ended; put the new one into triggerfs.toml where it holds the old one.'], {});
}

async function newUser(call: Call): Promise<null> {
  const { values, options, connection, screen } = call;
  const secret = await newPassword(screen);
  const [email, role] = [options.email?.at(-1), options.role?.at(-1)];
  const body = { identity: values.name, secret, ...(email === undefined ? {} : { email }), ...(role === undefined ? {} : { role }) };
  await connection.call({ method: 'POST', path: '/v1/users', body });
  call.shell.namesChanged();
  return null;
}
