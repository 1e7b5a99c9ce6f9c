/**
 * What goes into a build and comes out of it beside its files: contexts, caches of others, the questions that may be asked of a
 * Dockerfile instead of building it, and what is told while it runs. The request itself is `BuildRequest` in `http/backend.ts`.
 * The vocabulary is BuildKit's (`docs/build/buildkit`, `frontend/dockerfile`, `api/services/control`), parsed once at the edge.
 */
import type { Readable } from 'node:stream'

/** Where the main context's files come from. */
export type BuildContext =
  /** A tar, possibly compressed: the body of `POST /build`. Read once; nobody else holds its chunks. */
  | { readonly kind: 'archive'; readonly tar: Readable }
  /** The client's folder, without what its ignore file (`ignore` is that file's text) leaves out. The Dockerfile comes apart from it. */
  | { readonly kind: 'folder'; readonly tar: FolderTar; readonly ignore: string; /** By which the folder is known again; absent: it is not. */ readonly keptAs?: string }
  /**
   * Fetched by the builder: a git repository in Docker's URL forms (`https://…/x.git#ref:folder`, `git@host:x`, `git://…`, `ssh://…`), a
   * tarball, or a Dockerfile's text.
   */
  | { readonly kind: 'url'; readonly url: string }

/**
 * A tar of what of a folder lies at or below `paths`, which may hold wildcards, with what symlinks among them lead to; undefined: of all of
 * it. May be asked for twice: first for what steps are known to name.
 */
export type FolderTar = (paths: readonly string[] | undefined, signal: AbortSignal, isKept?: IsKept) => AsyncIterable<Buffer>

/** Whether a file's bytes are here. They are not sent then: its entry is empty and has {@link keptMark}, an attribute that holds its path. */
export type IsKept = (file: { readonly path: string; readonly sizeBytes: number; readonly modifiedNs: bigint }) => boolean

/** No file has an attribute of this name: it is in no namespace (xattr(7)). */
export const keptMark = 'berth.kept'

/** What `FROM NAME`, `COPY --from=NAME` and `RUN --mount=from=NAME` mean instead of a stage or an image of that name (`--build-context`). */
export type NamedContext =
  /** `docker-image://REFERENCE`. */
  | { readonly kind: 'image'; readonly reference: string }
  /** As a main context's. */
  | { readonly kind: 'url'; readonly url: string }
  /** The client's folder `local:NAME`, its `.dockerignore` applied already. Asked for when a needed step reads it. */
  | { readonly kind: 'folder'; readonly tar: FolderTar }
  /** `oci-layout://…`: refused with `unimplemented` where a needed step reads it. */
  | { readonly kind: 'layout'; readonly reference: string }
  /** An image that an earlier build has made here (`target:` of bake): its id. */
  | { readonly kind: 'built'; readonly imageId: string }

/** What the steps of others may answer (`--cache-from`). A source that cannot be read is told as a warning and is no cache. */
export type CacheImport =
  /** An image that is here, as the classic builder has it: only its steps count as known then. */
  | { readonly kind: 'image'; readonly reference: string }
  /** `type=registry,ref=…`: a cache manifest, or an image with inline cache. */
  | { readonly kind: 'registry'; readonly reference: string }
  /** `type=local,src=…`: `digest` is that of the cache manifest or index in it. */
  | { readonly kind: 'local'; readonly digest: string; readonly blobs: LentBlobs }

export interface CacheDetail {
  /** `min`: the layers of the result; `max`: those of every step. */
  readonly mode: 'min' | 'max'
}

/** Where a build's cache goes (`--cache-to`). */
export type CacheExport =
  /** In the image's configuration (`moby.buildkit.cache.v0`). */
  | { readonly kind: 'inline' }
  | ({ readonly kind: 'registry'; readonly reference: string } & CacheDetail)
  | ({ readonly kind: 'local'; readonly blobs: LentBlobs } & CacheDetail)

/** Blobs of an OCI layout on the client's machine, by digest (containerd's content service, lent by a session). */
export interface LentBlobs {
  /** `notFound` where there is none. */
  read(digest: string, signal: AbortSignal): AsyncIterable<Buffer>
  /** A blob that is there already counts as written. */
  write(blob: { readonly digest: string; readonly sizeBytes: number }, content: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void>
}

/** Whose client asks, and so whose rules hold where the two builders differ (`build/dialect.ts`). */
export type BuildDialect = 'classic' | 'buildkit'

/** `security.insecure` allows `RUN --security=insecure`; `network.host` is always granted (`--allow`). */
export type BuildEntitlement = 'network.host' | 'security.insecure'

/** What is asked of a Dockerfile: its result, its lint warnings (`--check`), its stages and arguments, or its targets (`--call`). */
export type BuildCall = 'build' | 'check' | 'outline' | 'targets'

/** The answer to a call that builds nothing. */
export interface BuildAnswer {
  /** As BuildKit's subrequests write it (`result.json`). */
  readonly json: unknown
  /** For people (`result.txt`). */
  readonly text: string
  /** Of the command that shows it (`result.statuscode`): 1 where `check` found something. */
  readonly exitCode: number
}

/** What files of a result were made of and with, beside folders of the client's (SLSA's resolved dependencies and parameters). */
export type BuildMaterial =
  /** `digest`: of the manifest or index that a registry has it by; undefined: it comes from no registry. */
  | { readonly kind: 'image'; readonly reference: string; readonly platform: string; readonly digest: string | undefined }
  /** `commit`: undefined where the server did not tell it before the files were known. */
  | { readonly kind: 'git'; readonly url: string; readonly commit: string | undefined; readonly isContext: boolean }
  | { readonly kind: 'url'; readonly url: string; readonly sha256: string | undefined; readonly isContext: boolean }
  /** Asked of the client, given or not. */
  | { readonly kind: 'secret' | 'ssh'; readonly id: string; readonly isOptional: boolean }

/** What one platform's result comes from. */
export interface BuildOrigin {
  readonly materials: readonly BuildMaterial[]
  readonly dockerfile: { readonly file: string; readonly text: string }
}

export interface BuiltImage extends BuildOrigin {
  readonly platform: string
  readonly imageId: string
}

export interface BuildResult {
  /** One for each platform, in their order; none with an output, or for a call. */
  readonly images: readonly BuiltImage[]
  readonly answer?: BuildAnswer
  /** What `CacheExport` of kind `local` has written last; the client's index names it. */
  readonly cacheManifest?: { readonly mediaType: string; readonly digest: string; readonly sizeBytes: number }
}

/** A place in the Dockerfile, lines counted from 1, both ends included. */
export interface SourceRange {
  readonly file: string
  readonly firstLine: number
  readonly lastLine: number
}

/** One finding of the linter (https://docs.docker.com/reference/build-checks/), or a remark of another kind. */
export interface BuildWarning {
  /** E.g. `StageNameCasing`; empty where it is none of the linter's. */
  readonly rule: string
  /** What the rule wants. */
  readonly description: string
  /** Where the rule is explained; empty: nowhere. */
  readonly url: string
  /** What is wrong here. */
  readonly detail: string
  readonly at?: SourceRange
}

/** What is told while a build runs. Two sorts of clients take what is theirs: `stream` and `status` the classic ones, the rest BuildKit's. */
export type BuildMessage =
  /** Text as the classic builder prints it, with its line feeds and in the order of the file: `Step 1/3 : FROM scratch\n`, ` ---> 123…\n`. */
  | { readonly kind: 'stream'; readonly text: string }
  /** Progress of a FROM's pull. */
  | { readonly kind: 'status'; readonly id?: string; readonly status: string; readonly currentBytes?: number; readonly totalBytes?: number }
  /** The id of the image, once it stands. For both sorts. */
  | { readonly kind: 'imageId'; readonly id: string }
  /** What a failed command has left, as an image without a name; with `keepFailedRoot`. For clients of Berth's own. */
  | { readonly kind: 'failedRoot'; readonly imageId: string }
  /** A step (`[build 2/5] RUN make`, `[internal] load build context`) begins. `id` is a digest of its own; `inputs` are ids of earlier ones. */
  | { readonly kind: 'vertex'; readonly state: 'begun'; readonly id: string; readonly name: string; readonly inputs: readonly string[] }
  /** It ends, once; with `error`, it failed. */
  | { readonly kind: 'vertex'; readonly state: 'ended'; readonly id: string; readonly cached: boolean; readonly error?: string }
  /** A step's command speaks. */
  | { readonly kind: 'output'; readonly vertex: string; readonly channel: 'stdout' | 'stderr'; readonly data: Buffer }
  /** Progress of a part of a step, e.g. a layer or `naming to docker.io/library/x`. */
  | { readonly kind: 'progress'; readonly vertex: string; readonly part: string; readonly status: string; readonly currentBytes?: number; readonly totalBytes?: number; readonly isDone?: boolean }
  | { readonly kind: 'warning'; readonly vertex: string; readonly warning: BuildWarning }
