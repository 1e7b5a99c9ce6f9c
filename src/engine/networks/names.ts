/**
 * What the engine's own DNS says (Docker's rules for user-defined networks): a container finds others on its networks by
 * container name, alias and short id, and by `name.network`; addresses of the network have names, too. Everything else is for
 * the host's resolvers. Pure: sockets are in `name-server.ts`.
 */
import type { Answer, Question } from 'dns-packet'
import { formatIp, parseIp } from '#base/ip.ts'

export interface NamedEndpoint {
  readonly networkName: string
  /** Empty where it has none. */
  readonly ipv4Address: string
  readonly ipv6Address: string
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
  const { type } = question
  if (type === 'PTR') return reverse(name, question.name, visible)
  const found = visible.filter(({ aliases, networkName }) => aliases.some((alias) => matches(alias.toLowerCase(), networkName.toLowerCase(), name)))
  if (found.length === 0) return { kind: 'forward' }
  // A name of ours has no other records: an empty answer keeps resolvers from asking the world.
  if (type !== 'A' && type !== 'AAAA') return { kind: 'answers', answers: [] }
  const addresses = [...new Set(found.map(({ ipv4Address, ipv6Address }) => (type === 'A' ? ipv4Address : ipv6Address)))].filter((address) => address !== '')
  const first = addresses.length === 0 ? 0 : turn % addresses.length
  const rotated = [...addresses.slice(first), ...addresses.slice(0, first)]
  return { kind: 'answers', answers: rotated.map((data) => ({ type, class: 'IN', name: question.name, ttl: ttlSeconds, data })) }
}

function matches(alias: string, network: string, name: string): boolean {
  return name === alias || name === `${alias}.${network}`
}

function reverse(name: string, asked: string, visible: readonly NamedEndpoint[]): NameReply {
  const address = reversedAddress(name)
  const found = address === undefined ? undefined : visible.find(({ ipv4Address, ipv6Address }) => ipv4Address === address || ipv6Address === address)
  const [alias] = found?.aliases ?? []
  if (found === undefined || alias === undefined) return { kind: 'forward' }
  return { kind: 'answers', answers: [{ type: 'PTR', class: 'IN', name: asked, ttl: ttlSeconds, data: `${alias}.${found.networkName}` }] }
}

/** `4.3.2.1.in-addr.arpa` and the 32 digits of ip6.arpa (RFC 3596). */
function reversedAddress(name: string): string | undefined {
  const four = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/.exec(name)
  if (four !== null) return four.slice(1).reverse().join('.')
  if (!/^([0-9a-f]\.){32}ip6\.arpa$/.test(name)) return undefined
  const digits = name.slice(0, 64).split('.').reverse().join('')
  const address = parseIp(digits.match(/.{4}/g)?.join(':') ?? '')
  return address === undefined ? undefined : formatIp(address)
}
