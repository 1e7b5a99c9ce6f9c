/** The files that a container finds at /etc/hosts, /etc/hostname and /etc/resolv.conf (hosts(5), resolv.conf(5)). */
import { chown, writeFile } from 'node:fs/promises'
import type { ContainerSpec } from '../contract/containers.ts'
import type { Endpoint } from '../contract/networks.ts'
import type { Owner } from '../userns/remap.ts'

export interface NetworkFiles {
  readonly hosts: string
  readonly hostname: string
  readonly resolvConf: string
}

const standardHosts = ['127.0.0.1\tlocalhost', '::1\tlocalhost ip6-localhost ip6-loopback', 'fe00::0\tip6-localnet', 'ff00::0\tip6-mcastprefix', 'ff02::1\tip6-allnodes', 'ff02::2\tip6-allrouters']

export function hostsText(hostname: string, spec: ContainerSpec, endpoints: readonly Endpoint[], links: readonly string[] = []): string {
  const lines = [...standardHosts]
  for (const extra of spec.extraHosts ?? []) {
    const colon = extra.search(/[:=]/)
    if (colon < 0) continue
    const wanted = extra.slice(colon + 1).replace(/^\[|\]$/g, '')
    const address = wanted === 'host-gateway' ? (endpoints[0]?.gateway ?? '127.0.0.1') : wanted
    lines.push(`${address}\t${extra.slice(0, colon)}`)
  }
  lines.push(...links)
  const names = spec.domainname ? `${hostname}.${spec.domainname} ${hostname}` : hostname
  for (const { ipv4Address, ipv6Address } of endpoints) {
    if (ipv4Address !== '') lines.push(`${ipv4Address}\t${names}`)
    if (ipv6Address !== '') lines.push(`${ipv6Address}\t${names}`)
  }
  return `${lines.join('\n')}\n`
}

export interface ResolverSettings {
  readonly nameservers: readonly string[]
  readonly search: readonly string[]
  readonly options: readonly string[]
}

/**
 * What the user asked for wins over what the network gives, line by line. A search list of `.` means none. Where the engine's own
 * DNS answers, it stays the name server: it asks the user's servers itself.
 */
export function resolvConfText(wanted: ContainerSpec['dns'], given: ResolverSettings): string {
  const isEmbedded = given.nameservers.includes('127.0.0.11')
  const own = (list: readonly string[] | undefined, otherwise: readonly string[]): readonly string[] => (list !== undefined && list.length > 0 ? list : otherwise)
  const search = own(wanted?.search, given.search).filter((domain) => domain !== '.')
  const lines = (isEmbedded ? given.nameservers : own(wanted?.servers, given.nameservers)).map((server) => `nameserver ${server}`)
  if (search.length > 0) lines.push(`search ${search.join(' ')}`)
  const asked = own(wanted?.options, given.options)
  const options = isEmbedded && !asked.some((option) => option.startsWith('ndots:')) ? [...asked, 'ndots:0'] : asked
  if (options.length > 0) lines.push(`options ${options.join(' ')}`)
  return `${lines.join('\n')}\n`
}

/** Written in place: a running container has these very files bound over its own. `owner`: the container's root, where it is not ours. */
export async function writeNetworkFiles(files: NetworkFiles, texts: { readonly hosts: string; readonly hostname?: string; readonly resolvConf?: string }, owner?: Owner): Promise<void> {
  const writes = [writeFile(files.hosts, texts.hosts)]
  if (texts.hostname !== undefined) writes.push(writeFile(files.hostname, texts.hostname))
  if (texts.resolvConf !== undefined) writes.push(writeFile(files.resolvConf, texts.resolvConf))
  await Promise.all(writes)
  if (owner !== undefined) await Promise.all(Object.entries(texts).map(async ([name, text]) => (text === undefined ? undefined : chown(files[name as keyof NetworkFiles], owner.uid, owner.gid))))
}
