/**
 * What the engine's own DNS says (Docker's rules for user-defined networks): a container finds others on its networks by
 * container name, alias and short id, and by `name.network`; addresses of the network have names, too. Everything else is for
 * the host's resolvers. Pure: sockets are in `name-server.ts`.
 */
import type { Answer, Question } from 'dns-packet'

export interface NamedEndpoint {
  readonly networkName: string
  readonly ipv4Address: string
  /** The first is the container's name. */
  readonly aliases: readonly string[]
}

export type NameReply =
  | { readonly kind: 'answers'; readonly answers: readonly Answer[] }
  /** Not ours to say. */
  | { readonly kind: 'forward' }

const ttlSeconds = 10

/** `visible`: the endpoints on all networks of whoever asks. `turn` rotates several addresses of one name. */
export function replyTo(question: Question, visible: readonly NamedEndpoint[], turn: number): NameReply {
  const name = question.name.replace(/\.$/, '').toLowerCase()
  if (question.type === 'PTR') return reverse(name, question.name, visible)
  const found = visible.filter(({ aliases, networkName }) => aliases.some((alias) => matches(alias.toLowerCase(), networkName.toLowerCase(), name)))
  if (found.length === 0) return { kind: 'forward' }
  // A name of ours has no other records: an empty answer keeps resolvers from asking the world.
  if (question.type !== 'A') return { kind: 'answers', answers: [] }
  const addresses = [...new Set(found.map(({ ipv4Address }) => ipv4Address))]
  const first = turn % addresses.length
  const rotated = [...addresses.slice(first), ...addresses.slice(0, first)]
  return { kind: 'answers', answers: rotated.map((data) => ({ type: 'A', class: 'IN', name: question.name, ttl: ttlSeconds, data })) }
}

function matches(alias: string, network: string, name: string): boolean {
  return name === alias || name === `${alias}.${network}`
}

function reverse(name: string, asked: string, visible: readonly NamedEndpoint[]): NameReply {
  const address = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/.exec(name)?.slice(1).reverse().join('.')
  const found = visible.find(({ ipv4Address }) => ipv4Address === address)
  const [alias] = found?.aliases ?? []
  if (found === undefined || alias === undefined) return { kind: 'forward' }
  return { kind: 'answers', answers: [{ type: 'PTR', class: 'IN', name: asked, ttl: ttlSeconds, data: `${alias}.${found.networkName}` }] }
}
