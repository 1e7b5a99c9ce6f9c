/** Whether a pod puts up with a taint ("Taints and Tolerations" in the Kubernetes documentation). Pure. */
import type { Toleration } from '../api/core/v1/affinity.ts'
import type { Taint } from '../api/core/v1/node.ts'

export function tolerates(toleration: Toleration, taint: Taint): boolean {
  const { key = '', operator = 'Equal', value = '', effect } = toleration
  if (effect !== undefined && effect !== taint.effect) return false
  if (key === '') return operator === 'Exists'
  return key === taint.key && (operator === 'Exists' || value === (taint.value ?? ''))
}
