import { TriggerFsError } from '../../protocol/errors.ts';

const JSON_TYPE = /^application\/([a-z0-9.-]+\+)?json\s*(;|$)/i;
const FORM_TYPE = /^application\/x-www-form-urlencoded\s*(;|$)/i;
/** Fields of a form that are read; more are an attack on memory. */
const MAX_FIELDS = 10_000;

/** The parts of a request that say what its body is. */
export interface BodyParts {
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Buffer;
}

/** A body as JSON or as a form, parsed when a mapping asks for it. */
export class MappedBody {
  readonly #parts: BodyParts;
  #json: { readonly value: unknown } | null = null;
  #form: URLSearchParams | null = null;

  constructor(parts: BodyParts) {
    this.#parts = parts;
  }

  /** The body as JSON; undefined for an empty one. @throws TriggerFsError TFS_UNSUPPORTED_MEDIA, TFS_BAD_JSON */
  json(): unknown {
    this.#json ??= { value: this.#parseJson() };
    return this.#json.value;
  }

  /** A field of a form, a list when it is there more than once. @throws TriggerFsError TFS_UNSUPPORTED_MEDIA, TFS_TOO_LARGE */
  field(name: string): string | string[] | undefined {
    this.#form ??= this.#parseForm();
    const values = this.#form.getAll(name);
    return values.length > 1 ? values : values[0];
  }

  #parseJson(): unknown {
    const { body } = this.#parts;
    if (body.length === 0) return undefined;
    this.#expect(JSON_TYPE, 'application/json');
    try {
      return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
    } catch (cause) {
      throw new TriggerFsError('TFS_BAD_JSON', `the body is not JSON: ${(cause as Error).message.slice(0, 200)}`, { cause });
    }
  }

  #parseForm(): URLSearchParams {
    const { body } = this.#parts;
    if (body.length === 0) return new URLSearchParams();
    this.#expect(FORM_TYPE, 'application/x-www-form-urlencoded');
    return formOf(body);
  }

  #expect(type: RegExp, name: string): void {
    const given = String(this.#parts.headers['content-type'] ?? '');
    if (!type.test(given))
      throw new TriggerFsError('TFS_UNSUPPORTED_MEDIA', `this service reads ${name}, not ${JSON.stringify(given.slice(0, 64))}`);
  }
}

/** The fields of a form. @throws TriggerFsError TFS_TOO_LARGE when it has too many */
export function formOf(body: Buffer): URLSearchParams {
  let fields = 1;
  for (let at = body.indexOf('&'); at >= 0; at = body.indexOf('&', at + 1)) {
    fields += 1;
    if (fields > MAX_FIELDS) throw new TriggerFsError('TFS_TOO_LARGE', `the form has more than ${MAX_FIELDS} fields`);
  }
  return new URLSearchParams(body.toString('utf8'));
}
