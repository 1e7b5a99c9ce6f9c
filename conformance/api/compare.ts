/**
 * Compares two answers field by field: keys, kinds, null against [] against absent, and values, except where a value cannot be the same
 * on two engines. Both lists are short on purpose; every entry says why it is there.
 */

/** Values of which only the kind is compared: identifiers, addresses, times, counters, and paths of the engine's own state. */
const volatile: readonly RegExp[] = [
  /\.(Id|ID|Image|ImageID|Parent|ParentId|SandboxID|SandboxKey|EndpointID|NetworkID|ContainerID|MacAddress|Pid|DockerRootDir|Source|Mountpoint|LogPath|ResolvConfPath|HostnamePath|HostsPath|container|from|id|execID|reclaimed)$/,
  /\.(Created|CreatedAt|StartedAt|FinishedAt|Start|End|LastTagTime|SystemTime|time|timeNano|read|preread|Status)$/,
  /\.(HostPort|PublicPort)$/,
  /\.(SizeRw|SizeRootFs|Size|VirtualSize|LayersSize|BuilderSize)$/,
  /\.(IPAddress|Gateway|IPv4Address|Subnet)$/,
  /\.(Version|GitCommit|BuildTime|GoVersion|ServerVersion|NFd|NGoroutines|NEventsListener|GoVersion|ApiVersion)$/,
  /^\.body\.(cpu_stats|precpu_stats|memory_stats|blkio_stats|pids_stats)\./, /^\.body\.networks\.[^.]+\./,
  /\.RootFS\.Layers\[\]$/, /\.Processes\[\]\[\]$/, /\.Hostname$/, /^\.Hostname/, /\.Actor\.Attributes\.(name|image)$/,
]

/** Differences that stay, by the place where they show (`VERSION QUESTION FIELD`), with the reason. */
export const explained: readonly { readonly at: RegExp; readonly reason: string }[] = [
  { at: /\.GraphDriver\.Data\.\w+$/, reason: 'folders of the store, which each engine lays out otherwise; an image of Berth’s is mounted nowhere and has no MergedDir' },
  { at: /\.RestartPolicy\.Name$/, reason: 'a policy that was not given: dockerd 20.10 shows "", later ones "no"' },
  { at: /(Invalid filter|filters=|\/search|\/nothing|\/UPPER|archive|since=x|until=1|nobody|ps_args=--nonsense|verbose=x) ?.*\.body\.message$/, reason: 'words of an error that later dockerds changed too (capital letters, Go’s parser)' },
  { at: /(exited|publish|nobody|nonsense|limit=x|ps_args|since=x|\/search|type%22%3A%5B%22x|\/logs).* \.status$/, reason: 'faults of the request that dockerd 20.10 answers with 500; the documentation and later ones have 400 or 404' },
  { at: /stats\?.* \.body\.memory_stats\.stats\./, reason: 'counters of newer kernels that dockerd’s library does not know' },
  { at: /logs\?.* \.contentType$/, reason: 'dockerd 20.10 names no media type for logs; since 1.42 it does' },
  { at: /\/images\/world:1\/json \.body\.DockerVersion$/, reason: 'the version of the builder; empty as with BuildKit' },
  { at: /networks.*\.IPAM\.Config\[\]\.Gateway$/, reason: 'dockerd tells the gateway of its default bridge only where it was configured' },
  { at: /\.Options\.com\.docker\.network\.bridge\.name$/, reason: 'the name of the instance’s own bridge' },
  { at: /\/networks\?filters=%7B%22dangling%22%3A%5B%22true/, reason: 'dockerd 20.10 counts no endpoints in lists, so every network is dangling there' },
  { at: /\/info \.body\.(BridgeNf|KernelMemory|InitBinary|LiveRestoreEnabled|ContainerdCommit|RuncCommit|Runtimes|Plugins)/, reason: 'facts of the engine: Berth needs no bridge netfilter and no containerd, sets no kernel memory limits, keeps containers alive over restarts, and names what it has' },
  { at: /\/version \.body\.(Components|MinAPIVersion|Platform\.Name)/, reason: 'Berth is Berth, and serves from 1.24 on' },
  { at: /\/info \.body\.DriverStatus/, reason: 'by one pair more clients know an image store that keeps indexes and loads OCI archives, as dockerd with containerd’s does (decision 0016)' },
  { at: /\/info \.body\.ExecutionDriver$/, reason: 'a constant for clients of 1.24 that later dockerds no longer send' },
  { at: /\/events.* \.body(\[\])?\.Actor\.Attributes\.execDuration$/, reason: 'how long a container ran stands in its `die` since moby 23' },
  { at: /\/system\/df \.body\.BuildCache$/, reason: 'no build cache: dockerd 20.10 says null, later ones []' },
]

export interface Difference {
  readonly field: string
  readonly dockerd: string
  readonly berth: string
}

function kind(value: unknown): string {
  if (value === undefined) return 'absent'
  if (value === null) return 'null'
  if (Array.isArray(value)) return value.length === 0 ? '[]' : 'list'
  if (typeof value === 'object') return Object.keys(value).length === 0 ? '{}' : 'object'
  return typeof value
}

function shown(value: unknown): string {
  const text = value === undefined ? 'absent' : JSON.stringify(value)
  return text.length > 160 ? `${text.slice(0, 160)}…` : text
}

/** What a list of another length holds, in short. */
function titles(list: readonly unknown[]): string {
  return `${list.length}: ${list.map((item) => ['Type', 'Action', 'Names', 'Name', 'Destination', 'PrivatePort'].map((key) => Reflect.get(Object(item), key)).filter((word) => word !== undefined).join(' ') || shown(item)).join(', ')}`
}

/** A key that is an identifier (a network's containers, say) would never be the same. */
function plainKey(key: string): string {
  return key
}

function entriesOf(value: object): ReadonlyMap<string, unknown> {
  return new Map(Object.entries(value).map(([key, inner]) => [plainKey(key), inner]))
}

export function differences(dockerd: unknown, berth: unknown, field = ''): Difference[] {
  const [left, right] = [kind(dockerd), kind(berth)]
  const differ = (): Difference[] => [{ field: field || '.', dockerd: shown(dockerd), berth: shown(berth) }]
  if (left !== right) return differ()
  if (Array.isArray(dockerd) && Array.isArray(berth)) {
    if (dockerd.length !== berth.length) return [{ field: field || '.', dockerd: titles(dockerd), berth: titles(berth) }]
    return dockerd.flatMap((item, index) => differences(item, berth[index], `${field}[]`))
  }
  if (typeof dockerd === 'object' && typeof berth === 'object' && dockerd !== null && berth !== null) {
    const [mine, theirs] = [entriesOf(dockerd), entriesOf(berth)]
    return [...new Set([...mine.keys(), ...theirs.keys()])].sort().flatMap((key) => differences(mine.get(key), theirs.get(key), `${field}.${key}`))
  }
  if (dockerd === berth || volatile.some((pattern) => pattern.test(field))) return []
  return differ()
}

/**
 * dockerd mounts a container's volumes in no order, and up to moby 20.10 told of a volume's making again for each container that uses it
 * (later ones, as Berth, tell once).
 */
function orderedEvents(events: readonly unknown[]): unknown[] {
  const made = new Set<string>()
  const kept = events.flatMap((event) => {
    const { Type: type, Action: action, Actor: actor } = Object(event)
    const key = JSON.stringify(Reflect.get(Object(actor), 'ID'))
    // Anonymous ones are named by a new identifier each, which was made alike in both worlds: they count as different.
    if (type !== 'volume' || action !== 'create' || key === '"ID"') return [{ event, run: type === 'volume' ? String(action) : '' }]
    if (made.has(key)) return []
    made.add(key)
    return [{ event, run: 'create' }]
  })
  const sorted: unknown[] = []
  for (let at = 0; at < kept.length; ) {
    const run = kept[at]?.run ?? ''
    let end = at + 1
    while (run !== '' && kept[end]?.run === run) end += 1
    sorted.push(...kept.slice(at, end).map(({ event }) => event).toSorted((a, b) => (withoutTime(a) < withoutTime(b) ? -1 : 1)))
    at = end
  }
  return sorted
}

function withoutTime(event: unknown): string {
  const { Actor: actor } = Object(event)
  return JSON.stringify([Reflect.get(Object(actor), 'ID'), Reflect.get(Object(Reflect.get(Object(actor), 'Attributes')), 'destination')])
}

/** Order that the API does not promise is taken away before the comparison. */
export function ordered(question: string, body: unknown): unknown {
  if (Array.isArray(body) && question.startsWith('/events')) return orderedEvents(body)
  if (!Array.isArray(body)) {
    if (typeof body !== 'object' || body === null) return body
    return Object.fromEntries(Object.entries(body).map(([key, value]) => [key, ['Volumes', 'Images', 'Mounts', 'Ports', 'Warnings', 'Components', 'Containers', 'RepoTags'].includes(key) ? ordered(question, value) : value]))
  }
  const name = (item: unknown): string => {
    if (typeof item !== 'object' || item === null) return String(item)
    const key = ['Destination', 'Name', 'Names', 'Path', 'PrivatePort', 'Type', 'Id'].find((each) => each in item)
    return key === undefined ? JSON.stringify(item) : JSON.stringify(Reflect.get(item, key))
  }
  const listed = body.map((item: unknown) => (question.startsWith('/containers/json') || question.startsWith('/system/df') || question.endsWith('.inner') ? ordered(`${question}.inner`, item) : item))
  if (/^\/(events|containers\/json|images\/[^/]*\/history)/.test(question) && !question.endsWith('.inner')) return listed
  return listed.toSorted((a, b) => (name(a) < name(b) ? -1 : 1))
}
