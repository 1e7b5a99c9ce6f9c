/** Rules of deployments and replica sets (Kubernetes documentation, "Deployments"): selectors, templates, strategy. */
import type { FaultCause } from '#base/fault.ts'
import { forbidden, invalid, notSupported, required } from '#schema/cause.ts'
import { selects } from '#schema/selector.ts'
import { podTemplateRules } from '../../core/v1/pod-rules.ts'
import type { PodTemplateSpec } from '../../core/v1/pod-template.ts'
import type { LabelSelector } from '../../meta/v1/label-selector.ts'
import type { DeploymentSpec, DeploymentStrategy } from './deployment.ts'
import type { ReplicaSetSpec } from './replica-set.ts'

export function deploymentRules({ spec }: { readonly spec: DeploymentSpec }): readonly FaultCause[] {
  const causes: FaultCause[] = [...selectorRules(spec.selector, spec.template, 'deployment'), ...podTemplateRules(spec.template, 'spec.template'), ...alwaysRestarts(spec.template)]
  causes.push(...strategyRules(spec.strategy))
  if (spec.progressDeadlineSeconds <= (spec.minReadySeconds ?? 0)) {
    causes.push(invalid('spec.progressDeadlineSeconds', spec.progressDeadlineSeconds, 'must be greater than minReadySeconds'))
  }
  return causes
}

export function replicaSetRules({ spec }: { readonly spec: ReplicaSetSpec }): readonly FaultCause[] {
  return [...selectorRules(spec.selector, spec.template, 'replica set'), ...podTemplateRules(spec.template, 'spec.template'), ...alwaysRestarts(spec.template)]
}

function isEmpty(selector: LabelSelector): boolean {
  return Object.keys(selector.matchLabels ?? {}).length === 0 && (selector.matchExpressions ?? []).length === 0
}

function selectorRules(selector: LabelSelector, template: PodTemplateSpec, workload: string): FaultCause[] {
  if (isEmpty(selector)) return [invalid('spec.selector', selector, `empty selector is invalid for ${workload}`)]
  const { labels } = template.metadata
  return selects(selector, labels) ? [] : [invalid('spec.template.metadata.labels', labels ?? {}, '`selector` does not match template `labels`')]
}

function alwaysRestarts({ spec }: PodTemplateSpec): FaultCause[] {
  const causes = spec.restartPolicy === 'Always' ? [] : [notSupported('spec.template.spec.restartPolicy', spec.restartPolicy, ['Always'])]
  return spec.activeDeadlineSeconds === undefined ? causes : [...causes, forbidden('spec.template.spec.activeDeadlineSeconds', 'activeDeadlineSeconds in ReplicaSet is not Supported')]
}

function strategyRules({ type, rollingUpdate }: DeploymentStrategy): FaultCause[] {
  const path = 'spec.strategy.rollingUpdate'
  if (type === 'Recreate') return rollingUpdate === undefined ? [] : [forbidden(path, "may not be specified when strategy `type` is 'Recreate'")]
  if (rollingUpdate === undefined) return [required(path, 'this should be defaulted and never be nil')]
  const { maxUnavailable, maxSurge } = rollingUpdate
  const causes = [...amountRules(maxUnavailable, `${path}.maxUnavailable`), ...amountRules(maxSurge, `${path}.maxSurge`)]
  if (amount(maxUnavailable) === 0 && amount(maxSurge) === 0) causes.push(invalid(`${path}.maxUnavailable`, maxUnavailable, 'may not be 0 when `maxSurge` is 0'))
  if (typeof maxUnavailable === 'string' && amount(maxUnavailable) > 100) causes.push(invalid(`${path}.maxUnavailable`, maxUnavailable, 'must not be greater than 100%'))
  return causes
}

function amount(value: number | string): number {
  return typeof value === 'number' ? value : Number.parseInt(value, 10)
}

function amountRules(value: number | string, path: string): FaultCause[] {
  if (typeof value === 'number') return value < 0 ? [invalid(path, value, 'must be greater than or equal to 0')] : []
  if (/^\d+%$/.test(value)) return []
  return [invalid(path, value, "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')")]
}
