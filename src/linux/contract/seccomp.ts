/**
 * Compiles system-call filters (seccomp(2)) ahead of time. A runtime that translates a profile of several hundred calls for
 * each container spends more time on it than on everything else; the same profile always gives the same filter.
 */

/** As in the OCI runtime specification, `linux.seccomp` (config-linux.md). */
export interface SeccompProfile {
  readonly defaultAction: string
  readonly defaultErrnoRet?: number
  /** `SCMP_ARCH_X86_64` …; the machine's own is always included. */
  readonly architectures?: readonly string[]
  readonly syscalls?: readonly {
    readonly names: readonly string[]
    readonly action: string
    readonly errnoRet?: number
    readonly args?: readonly { readonly index: number; readonly value: number; readonly valueTwo?: number; readonly op: string }[]
  }[]
}

/** Faults: `unavailable` (libseccomp is not installed), `invalidArgument` (an action or comparison that is not known, or needs a listener). */
export interface SeccompCompiler {
  /** The classic BPF program (struct sock_filter[]), with a binary tree over the calls. Calls this machine does not know are left out. Takes some 20 ms in a worker. */
  compile(profile: SeccompProfile): Promise<Buffer>
}
