/**
 * Where Berth's output rightly differs from dockerd 20.10's, with the reason. A difference is a pair of texts within one line's output:
 * both become the same mark, everything around them is still compared. One that no longer occurs fails the run.
 */
export interface Difference {
  /** The case's name, or a pattern where several share the difference. */
  readonly cases: RegExp
  readonly dockerd: RegExp
  readonly berth: RegExp
  readonly reason: string
}

export const differences: readonly Difference[] = [
  { cases: /./, dockerd: /Invalid filter '[^']*'/, berth: /invalid filter '[^']*'/, reason: 'filters are refused in the words of moby 23 and later' },
  { cases: /restart policies|lifecycle\/update$/, dockerd: /invalid restart policy '\w+'/, berth: /invalid restart policy: unknown policy '\w+'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'/, reason: 'restart policies are refused in the words of moby 25 and later' },
  { cases: /restart policies/, dockerd: /maximum retry count cannot be used with restart policy '\w+'/, berth: /invalid restart policy: maximum retry count can only be used with 'on-failure'/, reason: 'restart policies are refused in the words of moby 25 and later' },
  { cases: /restart policies/, dockerd: /maximum retry count cannot be negative/, berth: /invalid restart policy: maximum retry count cannot be negative/, reason: 'restart policies are refused in the words of moby 25 and later' },
  { cases: /images\/inspect|inspect of a container/, dockerd: /no such image: (\S+): No such image: \1(:latest)?/, berth: /No such image: \S+/, reason: 'an unknown image is named once, as moby 23 and later do' },
  { cases: /kernel-memory|kernel memory/, dockerd: /(WARNING: )?Specifying a kernel memory limit is deprecated and will be removed in a future release\.\n/, berth: /^/, reason: 'kernel memory limits are gone since API 1.42' },
  { cases: /images\/(pull|login)/, dockerd: /Get "http:\/\/localhost:5999\/v2\/": dial tcp 127\.0\.0\.1:5999: connect: connection refused/, berth: /localhost:5999 cannot be reached: connect ECONNREFUSED 127\.0\.0\.1:5999/, reason: "a registry that cannot be reached is told in Node's words, not in Go's" },
  { cases: /networks\/(create|config)/, dockerd: /Invalid subnet nonsense : invalid CIDR address: nonsense/, berth: /invalid network config:\ninvalid subnet nonsense: invalid CIDR block notation/, reason: 'networks are refused in the words of moby 25 and later' },
  { cases: /runtime unknown/, dockerd: /Unknown runtime specified nosuch/, berth: /unknown or invalid runtime name: nosuch/, reason: 'an unknown runtime is refused in the words of moby 23 and later' },
  { cases: /isolation wrong/, dockerd: /Invalid isolation: "hyperv" - linux only supports 'default'/, berth: /invalid isolation \(hyperv\): linux only supports 'default'/, reason: 'an isolation is refused in the words of moby 28' },
]
