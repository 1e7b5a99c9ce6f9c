/**
 * Which fields an answer has for which version of the API. Routes make the widest answer; this one fold takes away what the client's
 * version does not know yet or no longer (docs/api/version-history.md of moby). A rule names a kind of answer, a path in it (`*` stands for
 * every key or item), and the first version that has the field (`from`) or the first that has not (`before`).
 */

export type AnswerKind = 'info' | 'imageInspect' | 'imageSummary' | 'containerInspect' | 'containerSummary' | 'network' | 'diskUsage'

interface FieldRule {
  readonly kind: AnswerKind
  readonly path: string
  readonly from?: number
  readonly before?: number
}

const legacyImageConfig = ['Hostname', 'Domainname', 'AttachStdin', 'AttachStdout', 'AttachStderr', 'Tty', 'OpenStdin', 'StdinOnce', 'Image']

export const fieldRules: readonly FieldRule[] = [
  { kind: 'info', path: 'BridgeNfIptables', before: 50 },
  { kind: 'info', path: 'BridgeNfIp6tables', before: 50 },
  { kind: 'info', path: 'KernelMemory', before: 42 },
  { kind: 'info', path: 'KernelMemoryTCP', before: 42 },
  { kind: 'info', path: 'RegistryConfig.AllowNondistributableArtifactsCIDRs', before: 49 },
  { kind: 'info', path: 'RegistryConfig.AllowNondistributableArtifactsHostnames', before: 49 },
  { kind: 'info', path: 'ContainerdCommit.Expected', before: 49 },
  { kind: 'info', path: 'RuncCommit.Expected', before: 49 },
  { kind: 'info', path: 'InitCommit.Expected', before: 49 },
  { kind: 'info', path: 'CDISpecDirs', from: 44 },
  { kind: 'info', path: 'Runtimes.*.status', from: 44 },
  { kind: 'info', path: 'FirewallBackend', from: 49 },
  { kind: 'imageInspect', path: 'VirtualSize', before: 44 },
  { kind: 'imageInspect', path: 'Container', before: 45 },
  // ContainerConfig has gone with it, but docker-compose 1.29 takes the newest version and cannot recreate a container without it.
  ...legacyImageConfig.map((name): FieldRule => ({ kind: 'imageInspect', path: `Config.${name}`, before: 50 })),
  { kind: 'imageSummary', path: 'VirtualSize', before: 44 },
  { kind: 'containerInspect', path: 'HostConfig.KernelMemory', before: 42 },
  { kind: 'containerInspect', path: 'HostConfig.KernelMemoryTCP', before: 42 },
  { kind: 'containerInspect', path: 'HostConfig.Annotations', from: 43 },
  { kind: 'containerInspect', path: 'NetworkSettings.Networks.*.DNSNames', from: 44 },
  { kind: 'containerInspect', path: 'NetworkSettings.Networks.*.GwPriority', from: 48 },
  { kind: 'containerSummary', path: 'HostConfig.Annotations', from: 46 },
  { kind: 'containerSummary', path: 'NetworkSettings.Networks.*.DNSNames', from: 44 },
  { kind: 'containerSummary', path: 'NetworkSettings.Networks.*.GwPriority', from: 48 },
  { kind: 'network', path: 'EnableIPv4', from: 48 },
  { kind: 'diskUsage', path: 'BuilderSize', before: 42 },
  { kind: 'diskUsage', path: 'BuildCache.*.Parent', before: 42 },
  { kind: 'diskUsage', path: 'BuildCache.*.Parents', from: 42 },
]

interface PathTree {
  readonly remove: Set<string>
  readonly inner: Map<string, PathTree>
}

const trees = new Map<string, PathTree>()

/** The paths that a version lacks, as one tree; computed once per kind and version. */
function treeOf(kind: AnswerKind, minorVersion: number): PathTree {
  const key = `${kind} ${minorVersion}`
  const known = trees.get(key)
  if (known !== undefined) return known
  const root: PathTree = { remove: new Set(), inner: new Map() }
  for (const rule of fieldRules) {
    if (rule.kind !== kind || (minorVersion >= (rule.from ?? 0) && minorVersion < (rule.before ?? Infinity))) continue
    const steps = rule.path.split('.')
    const last = steps.pop() ?? ''
    let node = root
    for (const step of steps) {
      let next = node.inner.get(step)
      if (next === undefined) node.inner.set(step, (next = { remove: new Set(), inner: new Map() }))
      node = next
    }
    node.remove.add(last)
  }
  trees.set(key, root)
  return root
}

function without(value: unknown, { remove, inner }: PathTree): unknown {
  if (Array.isArray(value)) {
    const each = inner.get('*')
    return each === undefined ? value : value.map((item: unknown) => without(item, each))
  }
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !remove.has(key))
      .map(([key, field]): [string, unknown] => {
        const next = inner.get(key) ?? inner.get('*')
        return [key, next === undefined ? field : without(field, next)]
      }),
  )
}

/** The answer as a client of this version expects it. */
export function shaped(kind: AnswerKind, answer: object, minorVersion: number): object {
  const tree = treeOf(kind, minorVersion)
  if (tree.remove.size === 0 && tree.inner.size === 0) return answer
  return Object(without(answer, tree))
}
