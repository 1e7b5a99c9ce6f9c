/** Commands and flags of the help that no case uses, each with the reason. Everything else must be used. */
export interface Exclusion {
  /** On `CANONICAL PATH` or `CANONICAL PATH --flag`. */
  readonly pattern: RegExp
  readonly reason: string
}

export const exclusions: readonly Exclusion[] = [
  { pattern: /^(swarm|node|service|stack|secret|config)\b/, reason: 'swarm: Berth answers that it is none (issue 3 leaves it out)' },
  { pattern: /^plugin\b/, reason: 'plugins (issue 3 leaves them out)' },
  { pattern: /^(manifest|trust)\b/, reason: 'asks registries and notaries, never the engine' },
  { pattern: /^completion\b/, reason: 'prints a shell script, never asks the engine' },
  { pattern: /--(cpu-count|cpu-percent|io-maxbandwidth|io-maxiops)$/, reason: 'Windows only' },
  { pattern: /^volume (create --(availability|group|limit-bytes|required-bytes|scope|secret|sharing|topology-preferred|topology-required|type)|update|ls --cluster)/, reason: 'cluster volumes (CSI): swarm' },
  { pattern: /^network (create --ingress)$/, reason: 'swarm' },
  { pattern: /^context .*--(kubernetes|default-stack-orchestrator|kubeconfig)$/, reason: 'never asks the engine; the orchestrator was removed' },
  { pattern: /^version --kubeconfig$/, reason: 'the orchestrator was removed' },
]
