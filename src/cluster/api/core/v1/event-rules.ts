/** Rules of events: they live in the namespace of what they are about; events without one live in `default`. */
import type { FaultCause } from '#base/fault.ts'
import { invalid } from '#schema/cause.ts'

interface EventLike {
  readonly metadata: { readonly namespace?: string | undefined }
  readonly involvedObject: { readonly namespace?: string | undefined }
}

export function eventRules({ metadata, involvedObject }: EventLike): readonly FaultCause[] {
  const about = involvedObject.namespace
  const { namespace } = metadata
  const fits = about === undefined ? namespace === 'default' || namespace === 'kube-system' : about === namespace
  return fits ? [] : [invalid('involvedObject.namespace', about ?? '', 'does not match event.namespace')]
}
