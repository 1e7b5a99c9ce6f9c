/** What every event about a container carries: its labels, image and name (Engine API, `Actor.Attributes`). */
import type { Entry } from './entry.ts'

export function eventAttributes({ record, effective }: Entry): Record<string, string> {
  return { ...effective.labels, image: record.spec.image, name: record.name }
}
