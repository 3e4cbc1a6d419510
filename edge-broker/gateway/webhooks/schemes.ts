import { type HookSettings, NO_IDENTITY } from '../../../protocol/http/gateway.ts';
import { type Delivery, decode, digestOf, type Expectation, header, seconds } from './signature.ts';
import { expectTwilio } from './twilio.ts';

type Scheme = (delivery: Delivery, settings: HookSettings) => Expectation;

const SIGNATURES = 16;
const plain = (secret: Buffer): Buffer => secret;

/**
 * How each kind of sender signs. The identity comes only from what is signed, wherever there is such a thing: an id beside it
 * could be changed by who repeats a request. Delivery ids of GitHub are not signed, so its bodies, which are all different, are told apart;
 * those of `hmac` are believed only where the hook says so.
 */
const SCHEMES: Readonly<Record<HookSettings['scheme'], Scheme>> = {
  github: (delivery) => ({
    given: decode([after('sha256=', header(delivery, 'x-hub-signature-256'))], 'hex'),
    contents: [[delivery.body]],
    digest: 'sha256',
    key: plain,
    timestamp: null,
    identity: digestOf(delivery.body),
  }),

  stripe: (delivery) => {
    const fields = (header(delivery, 'stripe-signature') ?? '').split(',', SIGNATURES).map((field) => field.trim().split('='));
    const values = (name: string): (string | undefined)[] => fields.filter(([key]) => key === name).map(([, value]) => value);
    const [time, second] = values('t');
    return {
      given: second === undefined ? decode(values('v1'), 'hex') : [],
      contents: [[`${time}.`, delivery.body]],
      digest: 'sha256',
      key: plain,
      timestamp: seconds(time),
      identity: textAt(delivery.body, 'id') ?? digestOf(`${time}.`, delivery.body),
    };
  },

  slack: (delivery) => {
    const time = header(delivery, 'x-slack-request-timestamp');
    return {
      given: decode([after('v0=', header(delivery, 'x-slack-signature'))], 'hex'),
      contents: [[`v0:${time}:`, delivery.body]],
      digest: 'sha256',
      key: plain,
      timestamp: seconds(time),
      identity: textAt(delivery.body, 'event_id') ?? digestOf(`v0:${time}:`, delivery.body),
    };
  },

  standard: (delivery) => {
    const [id, time] = [header(delivery, 'webhook-id'), header(delivery, 'webhook-timestamp')];
    const signatures = (header(delivery, 'webhook-signature') ?? '').split(' ', SIGNATURES).map((text) => after('v1,', text));
    return {
      given: id === undefined ? [] : decode(signatures, 'base64'),
      contents: [[`${id}.${time}.`, delivery.body]],
      digest: 'sha256',
      key: standardKey,
      timestamp: seconds(time),
      identity: id ?? null,
    };
  },

  twilio: expectTwilio,

  hmac: (delivery, { header: name, prefix, encoding, digest, timestamp, delivery: told }) => {
    const time = timestamp === '' ? null : header(delivery, timestamp);
    const content = time === null ? [delivery.body] : [`${time}.`, delivery.body];
    return {
      given: decode([after(prefix, header(delivery, name))], encoding),
      contents: [content],
      digest,
      key: plain,
      timestamp: time === null ? null : seconds(time),
      identity: (told === '' ? null : identityTold(delivery, told)) ?? (told === NO_IDENTITY ? null : digestOf(...content)),
    };
  },
};

/** What the signature of a delivery has to be. */
export function expectationOf(delivery: Delivery, settings: HookSettings): Expectation {
  return SCHEMES[settings.scheme](delivery, settings);
}

/** What a header that the hook believes calls a delivery. A digest cannot be mistaken for one: it has no mark. */
function identityTold(delivery: Delivery, name: string): string | null {
  const id = name === NO_IDENTITY ? undefined : header(delivery, name);
  return id === undefined ? null : `id ${id}`;
}

/** The text behind a prefix; undefined when it is not there. */
function after(prefix: string, text: string | undefined): string | undefined {
  return text?.startsWith(prefix) ? text.slice(prefix.length) : undefined;
}

/** Secrets of standardwebhooks.com are base64 behind `whsec_`. */
function standardKey(secret: Buffer): Buffer {
  const text = secret.toString('latin1');
  return text.startsWith('whsec_') ? Buffer.from(text.slice(6), 'base64') : secret;
}

/** A text at the top of a JSON body. */
function textAt(body: Buffer, key: string): string | null {
  try {
    const value = (JSON.parse(body.toString('utf8')) as Readonly<Record<string, unknown>> | null)?.[key];
    return typeof value === 'string' && value.length <= 256 ? value : null;
  } catch {
    return null;
  }
}
