/**
 * Where a home lies: in a folder that another program carries to other machines, or on a file system that does not keep what it was told
 * to.
 * Knows what these look like, from names alone.
 */

/** A directory above a home, or the home itself, with the names in it. */
export interface Ancestor {
  readonly path: string
  readonly names: readonly string[]
}

interface SyncTool {
  readonly tool: string
  /** The name of a folder that it carries. */
  readonly folder?: RegExp
  /** What it leaves in one. */
  readonly mark?: RegExp
}

const syncTools: readonly SyncTool[] = [
  { tool: 'Syncthing', mark: /^\.stfolder$/ },
  { tool: 'Dropbox', folder: /^Dropbox( \(.+\))?$/, mark: /^\.dropbox\.cache$/ },
  { tool: 'OneDrive', folder: /^OneDrive( ?- ?.+)?$/ },
  { tool: 'Google Drive', folder: /^(Google ?Drive|GoogleDrive-.+)$/, mark: /^\.tmp\.drive(upload|download)$/ },
  { tool: 'iCloud Drive', folder: /^(com~apple~CloudDocs|iCloud ?Drive)$/ },
  {
    tool: 'Nextcloud or ownCloud',
    folder: /^(Nextcloud|ownCloud)\d*$/i,
    mark: /^(\.nextcloudsync\.log|\.owncloudsync\.log|\._?sync_[0-9a-f]+\.db)$/,
  },
  { tool: 'git', mark: /^\.git$/ },
]

/** The program that carries one of the directories elsewhere, and which; null where none is known to. */
export function syncToolOf(ancestors: readonly Ancestor[]): { readonly tool: string; readonly path: string } | null {
  for (const { names, path } of ancestors) {
    const last = path.split(/[\\/]/).at(-1) ?? ''
    const found = syncTools.find(
      ({ folder, mark }) => folder?.test(last) === true || (mark !== undefined && names.some((name) => mark.test(name))),
    )
    if (found !== undefined) return { tool: found.tool, path }
  }
  return null
}

/** File systems of other machines: locks and fsync may mean less there than SQLite needs. */
const remote =
  /^(nfs4?|cifs|smb3|smbfs|9p|afs|ceph|glusterfs|lustre|beegfs|davfs2?|fuse\.(sshfs|rclone|glusterfs|s3fs|davfs2?|gcsfuse)|vboxsf|fuse\.vmhgfs-fuse)$/
/** File systems that are gone when the machine stops. */
const volatile = /^(tmpfs|ramfs)$/

export type Durability = 'lasting' | 'remote' | 'volatile'

/** The file system that a path lies on, by the text of `/proc/self/mounts`; null where no line is about it. */
export function fileSystemOf(path: string, mounts: string): { readonly type: string; readonly durability: Durability } | null {
  let longest = ''
  let type: string | null = null
  for (const line of mounts.split('\n')) {
    const [, escaped, kind] = line.split(' ')
    if (escaped === undefined || kind === undefined) continue
    const place = escaped.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
    const holdsPath = place === '/' || path === place || path.startsWith(`${place}/`)
    // A later mount hides an earlier one at the same place.
    if (holdsPath && place.length >= longest.length) [longest, type] = [place, kind]
  }
  if (type === null) return null
  return { type, durability: remote.test(type) ? 'remote' : volatile.test(type) ? 'volatile' : 'lasting' }
}
