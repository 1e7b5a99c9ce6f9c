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
  { cases: /kernel memory/, dockerd: /(WARNING: )?Specifying a kernel memory limit is deprecated and will be removed in a future release\.\n/, berth: /^/, reason: 'kernel memory limits are gone since API 1.42' },
  { cases: /kernel-memory/, dockerd: /(WARNING: )?Specifying a kernel memory limit is deprecated and will be removed in a future release\.\n/, berth: /(WARNING: )?Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. Limitation discarded\.\n/, reason: 'kernel memory limits are gone since API 1.42: Berth says that there is none, dockerd passes it on to a runc that ignores it' },
  { cases: /images\/(pull|login)/, dockerd: /Get "http:\/\/localhost:5999\/v2\/": dial tcp 127\.0\.0\.1:5999: connect: connection refused/, berth: /localhost:5999 cannot be reached: connect ECONNREFUSED 127\.0\.0\.1:5999/, reason: "a registry that cannot be reached is told in Node's words, not in Go's" },
  { cases: /networks\/(create|config)/, dockerd: /Invalid subnet nonsense : invalid CIDR address: nonsense/, berth: /invalid network config:\ninvalid subnet nonsense: invalid CIDR block notation/, reason: 'networks are refused in the words of moby 25 and later' },
  { cases: /runtime unknown/, dockerd: /Unknown runtime specified nosuch/, berth: /unknown or invalid runtime name: nosuch/, reason: 'an unknown runtime is refused in the words of moby 23 and later' },
  { cases: /isolation wrong/, dockerd: /Invalid isolation: "hyperv" - linux only supports 'default'/, berth: /invalid isolation \(hyperv\): linux only supports 'default'/, reason: 'an isolation is refused in the words of moby 28' },
  { cases: /./, dockerd: /(?<!for container: )failed to create shim task: OCI runtime/, berth: /failed to create task for container: failed to create shim task: OCI runtime/, reason: 'a failed start is told in the words of moby 24 and later' },
  { cases: /run-flags\/(none|hostname and domainname)$/, dockerd: /<address 1>/, berth: /<address 2>/, reason: 'an address that was given back is given again last, so that who still has it in a cache reaches nobody else' },
  { cases: /run-flags\/dns$/, dockerd: /(search .*\n)(nameserver .*\n)/, berth: /(nameserver .*\n)(search .*\n)/, reason: 'the name servers stand before the search list, as since moby 26' },
  { cases: /run-flags\/ip in the default network/, dockerd: /^ran created\nmade created\n$/, berth: /^$/, reason: 'refused at the creation, as since moby 25' },
  { cases: /run-flags\/ipc wrong/, dockerd: /^ran created\nmade created\n$/, berth: /^$/, reason: 'refused at the creation, as since moby 23' },
  { cases: /run-flags\/ipc wrong/, dockerd: /Invalid IPC mode: odd\.?\n/, berth: /invalid IPC mode: odd\.?\n(See 'docker run --help'\.\n)?/, reason: 'refused at the creation and in its words, as since moby 23' },
  { cases: /run-flags\/privileged/, dockerd: /^true 128\n/, berth: /^true 0\n/, reason: 'a privileged container gets the capabilities that there are, as since moby 23; dockerd 20.10 starts none where its own bounding set lacks one, as on the machine of this run' },
  { cases: /run-flags\/attach, /, dockerd: /Unrecognized input header: 73/, berth: /Unrecognized input header: 123/, reason: 'a refused attach answers the ErrorResponse in JSON that its documentation promises, dockerd a line of text; client 20.10 shows the first byte of either' },
  { cases: /run-flags\/exit codes/, dockerd: /(is not a directory\.\n)See 'docker run --help'\.\n/, berth: /(is not a directory\.\n)/, reason: 'a creation mounts nothing (decision 0005): the working directory is made by the start, whose refusals client 20.10 prints without a hint' },
]
