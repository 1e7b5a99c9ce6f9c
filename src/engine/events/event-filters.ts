/** `docker events --filter`: values of one key are alternatives, different keys must all hold (Engine API `GET /events`). */
import type { EngineEvent, EventFilters } from '../contract/events.ts'

export const eventFilterKeys: readonly string[] = ['config', 'container', 'daemon', 'event', 'image', 'label', 'network', 'node', 'plugin', 'scope', 'secret', 'service', 'type', 'volume']

export function matchesFilters(event: EngineEvent, filters: EventFilters): boolean {
  for (const [key, values] of filters) {
    // Unknown keys hold for every event, as Docker has it.
    if (eventFilterKeys.includes(key) && values.length > 0 && !values.some((value) => matches(event, key, value))) return false
  }
  return true
}

function matches({ type, action, actor, scope }: EngineEvent, key: string, value: string): boolean {
  const { name = '', image = '' } = actor.attributes
  switch (key) {
    case 'event':
      // `exec_start` stands for every `exec_start: CMD`, `health_status` for each of its values.
      return action === value || (action.startsWith(`${value}: `) && (value.startsWith('exec_') || value === 'health_status'))
    case 'type':
      return type === value
    case 'scope':
      return scope === value
    case 'container':
      return type === 'container' && named(actor.id, name, value)
    case 'image':
      return (type === 'image' && (actor.id === value || sameImage(name, value))) || (type === 'container' && sameImage(image, value))
    case 'network':
    case 'volume':
    case 'daemon':
    case 'plugin':
      return type === key && named(actor.id, name, value)
    case 'label': {
      const equals = value.indexOf('=')
      const label = equals < 0 ? value : value.slice(0, equals)
      const held = actor.attributes[label]
      return held !== undefined && (equals < 0 || held === value.slice(equals + 1))
    }
    default:
      return false
  }
}

function named(id: string, name: string, value: string): boolean {
  return id === value || name === value || (value.length > 0 && id.startsWith(value))
}

/** `busybox` means every tag of it. */
function sameImage(name: string, value: string): boolean {
  return name === value || name.replace(/:[^/]*$/, '') === value
}
