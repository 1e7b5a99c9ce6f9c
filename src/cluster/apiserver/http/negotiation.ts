/**
 * Which encoding a client gets (RFC 9110, 12.5.1, with Kubernetes' media type parameters:
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources).
 */
import { Fault } from '#base/fault.ts'
import { protobufMediaType } from '#schema/protobuf.ts'

export type Encoding = 'json' | 'yaml' | 'protobuf'

export interface Representation {
  readonly encoding: Encoding
  /** Instead of the object itself. */
  readonly as: 'Table' | 'PartialObjectMetadata' | undefined
  readonly pretty: boolean
}

export const mediaTypes: Readonly<Record<Encoding, string>> = {
  json: 'application/json',
  yaml: 'application/yaml',
  protobuf: protobufMediaType,
}

export interface MediaRange {
  readonly type: string
  readonly parameters: ReadonlyMap<string, string>
}

/** The ranges of an Accept header in order of preference. */
export function parseAccept(header: string | undefined): MediaRange[] {
  const ranges = (header === undefined || header.trim() === '' ? '*/*' : header).split(',').map((range, index) => {
    const [type = '', ...rest] = range.split(';').map((part) => part.trim())
    const parameters = new Map(rest.map((parameter): [string, string] => [parameter.split('=')[0] ?? '', parameter.slice(parameter.indexOf('=') + 1)]))
    return { type: type.toLowerCase(), parameters, quality: Number(parameters.get('q') ?? 1), index }
  })
  return ranges.filter(({ quality }) => quality > 0).sort((a, b) => b.quality - a.quality || a.index - b.index)
}

function encodingOf(type: string): Encoding | undefined {
  switch (type) {
    case 'application/json':
    case 'application/*':
    case '*/*':
      return 'json'
    case 'application/yaml':
    case 'text/yaml':
      return 'yaml'
    case protobufMediaType:
      return 'protobuf'
    default:
      return undefined
  }
}

export interface Choices {
  readonly encodings: readonly Encoding[]
  /** Whether the answer is an object or a list of objects, which have other representations. */
  readonly objects: boolean
}

function representationOf({ type, parameters }: MediaRange, { encodings, objects }: Choices): Omit<Representation, 'pretty'> | undefined {
  const encoding = encodingOf(type)
  if (encoding === undefined || !encodings.includes(encoding)) return undefined
  const as = parameters.get('as')
  if (as === undefined) return { encoding, as: undefined }
  if (!objects || parameters.get('g') !== 'meta.k8s.io' || parameters.get('v') !== 'v1') return undefined
  if (as === 'Table') return encoding === 'json' ? { encoding, as } : undefined
  if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList') return encoding === 'json' ? { encoding, as: 'PartialObjectMetadata' } : undefined
  return undefined
}

/** Throws `notAcceptable`. Browsers and curl get JSON. */
export function negotiate(accept: string | undefined, choices: Choices, query: URLSearchParams): Representation {
  for (const range of parseAccept(accept)) {
    const found = representationOf(range, choices)
    if (found !== undefined) return { ...found, pretty: query.get('pretty') === 'true' || query.get('pretty') === '1' }
  }
  const supported = choices.encodings.map((encoding) => mediaTypes[encoding]).join(', ')
  throw new Fault('notAcceptable', `only the following media types are accepted: ${supported}`)
}
