/**
 * sendfile(2): a file's bytes onto a connection that Node holds, without passing through memory of ours. The caller lets Node
 * write a piece of its own whenever the connection is full: so Node does the waiting, and learns what became of the client.
 */
import type { Socket } from 'node:net'

export interface Sendfile {
  /**
   * undefined where bytes put on the connection would not be the stream's (TLS), where an idle timeout would not see them, where the
   * connection is over, and where its descriptor cannot be known. `file` is the descriptor of a regular file, open as long as the target.
   */
  open(socket: Socket, file: number): SendfileTarget | undefined
}

/** Stands on a descriptor of its own: when Node closes the socket meanwhile, no other connection can take its place. Until it is disposed, the client does not learn of that. */
export interface SendfileTarget extends Disposable {
  /**
   * How many of `lengthBytes` from `position` the connection took; never waits for the client. 0: it is full, or over, or the file
   * ends before, or too many calls are under way. Nothing that Node was given may still wait to be written. To be awaited
   * before the target is disposed.
   */
  send(position: number, lengthBytes: number): Promise<number>
}
