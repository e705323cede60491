package server

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// fileWatch detects files that differ from what was read of them. The operating system
// reports events in their directories; reading the files shows whether they changed. It
// watches directories, since editors and Kubernetes (whose ..data link moves) replace
// files instead of writing them.
//
// It belongs to one goroutine, which receives from its channels.
type fileWatch struct {
	events <-chan fsnotify.Event
	errors <-chan error
	poll   *time.Ticker     // finds changes without an event, for example on a network file system
	due    <-chan time.Time // nil: no change is pending

	read    map[string]digest // the content that the configuration was made from
	seen    map[string]digest // at the previous look
	notify  *fsnotify.Watcher // nil: not available
	onError func(error)
}

const (
	settleWithin = 200 * time.Millisecond // files must not change for this long: an editor may be writing
	pollEvery    = 5 * time.Second
)

func newFileWatch(files map[string]digest, onError func(error)) *fileWatch {
	w := &fileWatch{onError: onError, poll: time.NewTicker(pollEvery)}
	var err error
	if w.notify, err = fsnotify.NewWatcher(); err != nil {
		onError(err)
	} else {
		w.events, w.errors = w.notify.Events, w.notify.Errors
	}
	w.set(files)
	w.soon() // they may have changed since they were read
	return w
}

func (w *fileWatch) close() {
	w.poll.Stop()
	if w.notify != nil {
		w.notify.Close()
	}
}

// set watches these files, given their content as read.
func (w *fileWatch) set(files map[string]digest) {
	w.read, w.seen = files, files
	if w.notify == nil {
		return
	}
	var dirs []string
	for name, d := range files {
		if d == (digest{}) {
			continue
		}
		dirs = append(dirs, filepath.Dir(name))
		if target, err := filepath.EvalSymlinks(name); err == nil { // a change may be in the link's target
			dirs = append(dirs, filepath.Dir(target))
		}
	}
	watched := w.notify.WatchList()
	for _, dir := range watched {
		if !slices.Contains(dirs, dir) {
			w.notify.Remove(dir)
		}
	}
	for _, dir := range dirs {
		if slices.Contains(watched, dir) {
			continue
		}
		watched = append(watched, dir)
		if err := w.notify.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.onError(err)
		}
	}
}

// soon schedules a look after an event. Further events do not delay it: a log file may be
// written in the same directory.
func (w *fileWatch) soon() {
	if w.due == nil {
		w.due = time.After(settleWithin)
	}
}

// changed reports whether the files differ from what was read and have not changed since
// the previous look.
func (w *fileWatch) changed() bool {
	w.due = nil
	now := make(map[string]digest, len(w.read))
	for name, d := range w.read {
		if d != (digest{}) {
			d = digestNow(name)
		}
		now[name] = d
	}
	still := maps.Equal(now, w.seen)
	w.seen = now
	if maps.Equal(now, w.read) {
		return false
	}
	if !still {
		w.soon()
	}
	return still
}
