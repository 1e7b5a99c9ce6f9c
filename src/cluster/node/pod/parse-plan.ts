/** Reads from a Pod what its life cycle needs (`plan.ts`). Seconds become milliseconds, zero thresholds their defaults. */
import type { Container as ApiContainer, EphemeralContainer } from '../../api/core/v1/container.ts'
import type { Pod } from '../../api/core/v1/pod.ts'
import type { Probe } from '../../api/core/v1/probe.ts'
import type { ContainerPlan, PodPlan, ProbePlan } from './plan.ts'

export function planOf(pod: Pod): PodPlan {
  const { metadata, spec, status } = pod
  const deleted = metadata.deletionTimestamp !== undefined
  const graceSeconds = spec.terminationGracePeriodSeconds
  return {
    identity: { namespace: metadata.namespace, name: metadata.name, uid: metadata.uid },
    containers: [
      ...(spec.initContainers ?? []).map((each) => containerPlan(each, each.restartPolicy === 'Always' ? 'sidecar' : 'init', pod)),
      ...spec.containers.map((each) => containerPlan(each, 'app', pod)),
      ...(spec.ephemeralContainers ?? []).map((each) => containerPlan(each, 'ephemeral', pod)),
    ],
    restartPolicy: spec.restartPolicy,
    graceMs: graceSeconds * 1000,
    ...(deleted ? { deletionGraceMs: Math.max(0, metadata.deletionGracePeriodSeconds ?? graceSeconds) * 1000 } : {}),
    ...(spec.activeDeadlineSeconds === undefined ? {} : { activeDeadlineMs: spec.activeDeadlineSeconds * 1000 }),
    ...(status.phase === 'Succeeded' || status.phase === 'Failed' ? { finalPhase: status.phase } : {}),
    ...(metadata.generation === undefined ? {} : { generation: metadata.generation }),
    hostNetwork: spec.hostNetwork === true,
    readinessGates: (spec.readinessGates ?? []).map(({ conditionType: type }) => ({
      type,
      status: (status.conditions ?? []).some((condition) => condition.type === type && condition.status === 'True'),
    })),
  }
}

function containerPlan(container: ApiContainer | EphemeralContainer, kind: ContainerPlan['kind'], pod: Pod): ContainerPlan {
  return {
    name: container.name,
    kind,
    image: container.image ?? '',
    restartPolicy: container.restartPolicy ?? restartPolicyOf(kind, pod),
    probes: {
      ...(container.startupProbe === undefined ? {} : { startup: probePlan(container.startupProbe) }),
      ...(container.livenessProbe === undefined ? {} : { liveness: probePlan(container.livenessProbe) }),
      ...(container.readinessProbe === undefined ? {} : { readiness: probePlan(container.readinessProbe) }),
    },
    postStart: container.lifecycle?.postStart !== undefined,
    preStop: container.lifecycle?.preStop !== undefined,
  }
}

/** An init container that failed is retried unless the pod says Never; one that has succeeded is not run again. */
function restartPolicyOf(kind: ContainerPlan['kind'], { spec }: Pod): ContainerPlan['restartPolicy'] {
  if (kind === 'ephemeral') return 'Never'
  if (kind === 'init') return spec.restartPolicy === 'Never' ? 'Never' : 'OnFailure'
  return spec.restartPolicy
}

function probePlan(probe: Probe): ProbePlan {
  const orDefault = (value: number, fallback: number): number => (value > 0 ? value : fallback)
  return {
    initialDelayMs: (probe.initialDelaySeconds ?? 0) * 1000,
    periodMs: orDefault(probe.periodSeconds, 10) * 1000,
    timeoutMs: orDefault(probe.timeoutSeconds, 1) * 1000,
    successThreshold: orDefault(probe.successThreshold, 1),
    failureThreshold: orDefault(probe.failureThreshold, 3),
    ...(probe.terminationGracePeriodSeconds === undefined ? {} : { graceMs: probe.terminationGracePeriodSeconds * 1000 }),
  }
}
