/** `berth kube describe`: an object's fields as an outline, then what happened to it (its events, newest last). */
import { humanDuration } from '#base/human.ts'
import { listAt, objectAt, objectOf, textAt } from '../json.ts'
import { renderTable } from '../table.ts'
import { print, type Terminal } from '../terminal.ts'
import type { KubeConnection } from './connection.ts'
import type { Scope } from './objects.ts'
import { discover, parseTargets, pathOf, type Resource } from './resources.ts'

const hidden = new Set(['managedFields', 'kubectl.kubernetes.io/last-applied-configuration'])

function title(key: string): string {
  return /^[a-z]+([A-Z][a-z]+)*$/.test(key) ? `${key.charAt(0).toUpperCase()}${key.slice(1).replaceAll(/([A-Z])/g, ' $1')}` : key
}

/** Maps as indented outlines, lists of scalars on one line, lists of maps as dashes. */
function outline(value: unknown, indent: string): string {
  return Object.entries(objectOf(value))
    .filter(([key]) => !hidden.has(key))
    .map(([key, inner]) => {
      const label = `${indent}${title(key)}:`
      if (Array.isArray(inner)) {
        if (inner.every((item) => typeof item !== 'object')) return `${label} ${inner.map(String).join(', ') || '<none>'}\n`
        return `${label}\n${inner.map((item) => `${indent}  -\n${outline(item, `${indent}    `)}`).join('')}`
      }
      if (typeof inner === 'object' && inner !== null) return Object.keys(inner).length === 0 ? `${label} <none>\n` : `${label}\n${outline(inner, `${indent}  `)}`
      return `${label} ${String(inner)}\n`
    })
    .join('')
}

async function eventsOf(kube: KubeConnection, terminal: Terminal, object: unknown): Promise<string> {
  const metadata = objectAt(object, 'metadata')
  const namespace = textAt(metadata, 'namespace') || 'default'
  const fieldSelector = `involvedObject.uid=${textAt(metadata, 'uid')}`
  const events = listAt(await kube.json({ method: 'GET', path: `/api/v1/namespaces/${namespace}/events`, query: { fieldSelector } }), 'items')
  if (events.length === 0) return 'Events: <none>\n'
  const age = (event: unknown): string => {
    const at = textAt(event, 'lastTimestamp') || textAt(event, 'eventTime') || textAt(objectAt(event, 'metadata'), 'creationTimestamp')
    return humanDuration(terminal.clock.nowMs() - Date.parse(at))
  }
  const rows = events.map((event) => [
    `  ${textAt(event, 'type')}`,
    textAt(event, 'reason'),
    age(event),
    textAt(objectAt(event, 'source'), 'component') || textAt(event, 'reportingComponent'),
    textAt(event, 'message'),
  ])
  return `Events:\n${renderTable([['  Type', 'Reason', 'Age', 'From', 'Message'], ...rows])}`
}

async function describeOne(kube: KubeConnection, terminal: Terminal, resource: Resource, object: unknown): Promise<string> {
  const { metadata, kind: _kind, apiVersion: _version, ...rest } = objectOf(object)
  const shownData = resource.kind === 'Secret' ? { ...rest, data: Object.fromEntries(Object.entries(objectAt(object, 'data')).map(([key, value]) => [key, `${Buffer.from(String(value), 'base64').length} bytes`])) } : rest
  const { name, namespace, ...more } = objectOf(metadata)
  return `${outline({ name, ...(namespace === undefined ? {} : { namespace }) }, '')}${outline(more, '')}${outline(shownData, '')}${await eventsOf(kube, terminal, object)}`
}

export async function describe(kube: KubeConnection, terminal: Terminal, words: readonly string[], scope: Scope): Promise<void> {
  const namespace = scope.namespace ?? kube.defaultNamespace
  const texts: string[] = []
  for (const { resource, names } of parseTargets(await discover(kube), words)) {
    const objects = names.length > 0 ? await Promise.all(names.map((name) => kube.json({ method: 'GET', path: pathOf(resource, namespace, name) }))) : listAt(await kube.json({ method: 'GET', path: pathOf(resource, namespace) }), 'items')
    for (const object of objects) texts.push(await describeOne(kube, terminal, resource, object))
  }
  await print(terminal.stdout, texts.join('\n\n'))
}
