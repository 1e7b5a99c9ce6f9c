/** What the BuildKit inside dockerd 20.10 (v0.8) does and later BuildKit does not, where Berth does as the later one (read in moby/buildkit of 2026-08). */

const reasons = {
  mountPoints: '20.10 leaves the folder that a mount of RUN stood on; BuildKit takes it away since v0.11 (moby/buildkit#3307)',
  folderModes: '20.10 makes the folders above what COPY --chmod copies with mode 755; later BuildKit with the mode that is given (fsutil copy.Copy)',
  specialBits: '20.10 knows only nine bits of --chmod: what a file has beyond them stays, what is given is lost; later BuildKit sets them as given (fsutil copyFileInfo)',
  globalArgs: '20.10 empties a predefined argument that is declared before FROM without a value; later BuildKit leaves it (buildMetaArgs)',
  ownedArchives: '20.10 ignores --chown for what ADD unpacks; later BuildKit does not (solver/llbsolver/file/unpack.go)',
  ownGroup: '20.10 leaves a process’s own group out of its additional ones, which let it around rights that say less for the group; BuildKit puts it in since v0.11.4 (ensureAdditionalGids)',
  deviceNodes: '20.10 copies device nodes as empty files and leaves pipes out; later BuildKit copies what they are (fsutil copyDevice)',
} as const

/** Differences, as the driver writes them, that have one of the reasons. */
export function later(reason: keyof typeof reasons, ...differences: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(differences.map((difference) => [difference, reasons[reason]]))
}
