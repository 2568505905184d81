package netloop

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// uring is an io_uring used only for sends, by raw system calls. A send with MSG_DONTWAIT never waits, so all entries
// are done when io_uring_enter(2) returns: none is in progress between two calls, and the ring needs no thread of its
// own. SINGLE_ISSUER with DEFER_TASKRUN would bind the loop to one system thread and saves nothing (0.73 of plain sends
// with it, 0.73 without).
type uring struct {
	fd      int
	rings   []byte // the mapped indices, and cqes
	entries []byte // the memory of sqes

	sqes           []sqe
	cqes           []cqe
	sqTail, cqTail *uint32 // shared with the kernel
	cqHead         *uint32 // likewise; only we write to it
	tail           uint32  // of sqes, including entries not yet submitted
}

// sqe is struct io_uring_sqe, a request to the kernel.
type sqe struct {
	opcode   uint8
	flags    uint8
	ioprio   uint16
	fd       int32
	off      uint64
	addr     uint64
	len      uint32
	msgFlags uint32
	userData uint64
	_        [3]uint64
}

// cqe is struct io_uring_cqe, the result of a request.
type cqe struct {
	userData uint64
	res      int32 // what the system call would have returned
	flags    uint32
}

// uringParams is struct io_uring_params.
type uringParams struct {
	sqEntries, cqEntries, flags, _, _, features, _ uint32

	_  [3]uint32
	sq struct {
		head, tail, _, _, _, _, array, _ uint32
		_                                uint64
	}
	cq struct {
		head, tail, _, _, _, cqes, _, _ uint32
		_                               uint64
	}
}

// Constants of linux/io_uring.h.
const (
	uringSetupCoopTaskrun = 1 << 8 // Linux 5.19; older kernels answer EINVAL and do without
	uringFeatSingleMmap   = 1 << 0
	uringOffSQEs          = 0x10000000
	uringOpSend           = 26
	uringEnterGetEvents   = 1 << 0
)

// newUring returns a ring of size entries, a power of two, and checks that it works. Containers often forbid it: EPERM
// and ENOSYS are the usual errors.
func newUring(size int) (*uring, error) {
	p := uringParams{flags: uringSetupCoopTaskrun}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(size), uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, os.NewSyscallError("io_uring_setup", errno)
	}
	r := &uring{fd: int(fd)}
	if err := r.mapMemory(&p); err != nil {
		r.close()
		return nil, err
	}
	if err := r.try(); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *uring) mapMemory(p *uringParams) (err error) {
	if p.features&uringFeatSingleMmap == 0 {
		return errors.New("netloop: this kernel's io_uring is too old")
	}
	const protection, how = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	cqes := int(p.cq.cqes)
	length := max(int(p.sq.array)+4*int(p.sqEntries), cqes+int(p.cqEntries)*int(unsafe.Sizeof(cqe{})))
	if r.rings, err = unix.Mmap(r.fd, 0, length, protection, how); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	length = int(p.sqEntries) * int(unsafe.Sizeof(sqe{}))
	if r.entries, err = unix.Mmap(r.fd, uringOffSQEs, length, protection, how); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&r.entries[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(&r.rings[cqes])), p.cqEntries)
	r.sqTail, r.cqHead, r.cqTail = r.index(p.sq.tail), r.index(p.cq.head), r.index(p.cq.tail)
	for i := range p.sqEntries {
		*r.index(p.sq.array + 4*i) = i // entries are used in turn
	}
	return nil
}

func (r *uring) index(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[offset])) }

// try sends to an invalid descriptor, because setup may be permitted and sending forbidden.
func (r *uring) try() error {
	r.put(-1, []byte{0}, 0)
	if _, err := r.submit(1); err != nil {
		return err
	}
	var got unix.Errno
	r.reap(func(_, _ int, errno unix.Errno) { got = errno })
	if got != unix.EBADF {
		return fmt.Errorf("netloop: io_uring cannot send: invalid descriptor gives %v, want %v", got, unix.EBADF)
	}
	return nil
}

func (r *uring) close() {
	if r.rings != nil {
		_ = unix.Munmap(r.rings)
	}
	if r.entries != nil {
		_ = unix.Munmap(r.entries)
	}
	unix.Close(r.fd)
}

// put queues a send of p, which must not be empty, and must stay alive and unchanged until submit has returned. There
// must be room.
func (r *uring) put(fd int, p []byte, tag int) {
	r.sqes[r.tail&uint32(len(r.sqes)-1)] = sqe{
		opcode: uringOpSend, fd: int32(fd), userData: uint64(tag),
		addr: uint64(uintptr(unsafe.Pointer(&p[0]))), len: uint32(len(p)), msgFlags: unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL,
	}
	r.tail++
}

// submit makes the kernel execute the n queued entries, and returns how many it took. After an error the ring is
// unusable, but the entries that were taken are done.
func (r *uring) submit(n int) (taken int, err error) {
	atomic.StoreUint32(r.sqTail, r.tail)
	for taken < n || r.done() < n {
		got, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(n-taken), uintptr(n),
			uringEnterGetEvents, 0, 0)
		switch errno {
		case 0:
			taken += int(got)
		case unix.EINTR:
		default:
			return taken, os.NewSyscallError("io_uring_enter", errno)
		}
	}
	return taken, nil
}

// done returns how many results wait to be reaped.
func (r *uring) done() int { return int(atomic.LoadUint32(r.cqTail) - *r.cqHead) }

// reap calls each for every result: either n bytes were sent or errno is not 0.
func (r *uring) reap(each func(tag, n int, errno unix.Errno)) {
	head := *r.cqHead
	for range r.done() {
		c := &r.cqes[head&uint32(len(r.cqes)-1)]
		head++
		n, errno := int(c.res), unix.Errno(0)
		if c.res < 0 {
			n, errno = 0, unix.Errno(-c.res)
		}
		each(int(c.userData), n, errno)
	}
	atomic.StoreUint32(r.cqHead, head)
}
