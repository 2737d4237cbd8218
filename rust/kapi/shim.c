// SPDX-License-Identifier: GPL-2.0
/*
 * Functions for what the kernel offers only as macros and inline functions.
 * The contexts and the contracts stand at the callers, in Rust.
 */

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/cpumask.h>
#include <linux/fs_struct.h>
#include <linux/highmem.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/nsproxy.h>
#include <linux/percpu.h>
#include <linux/percpu-refcount.h>
#include <linux/pr.h>
#include <linux/sched/mm.h>
#include <linux/tcp.h>
#include <linux/wait.h>
#include <net/inet_connection_sock.h>
#include <net/net_namespace.h>
#include <net/sock.h>
#include <net/tcp.h>
#ifdef CONFIG_X86_TSC
#include <asm/tsc.h>
#endif

#include "shim.h"

/* bio.rs */

void kapi_bio_set_dev(struct bio *bio, struct block_device *bdev)
{
	bio_set_dev(bio, bdev);
}

/*
 * Maps the piece of the bio where the iterator stands, never more than a page, and moves
 * the iterator past it. NULL at the end.
 */
void *kapi_bio_map_piece(struct bio *bio, struct bvec_iter *iter, size_t *len)
{
	struct bio_vec bv;

	if (!iter->bi_size)
		return NULL;
	bv = bio_iter_iovec(bio, *iter);
	bio_advance_iter_single(bio, iter, bv.bv_len);
	*len = bv.bv_len;
	return bvec_kmap_local(&bv);
}

void kapi_unmap_piece(void *addr)
{
	kunmap_local(addr);
}

/* blkdev.rs */

sector_t kapi_bdev_nr_sectors(struct block_device *bdev)
{
	return bdev_nr_sectors(bdev);
}

unsigned int kapi_bdev_logical_block_size(struct block_device *bdev)
{
	return bdev_logical_block_size(bdev);
}

unsigned int kapi_bdev_dma_alignment(struct block_device *bdev)
{
	return bdev_dma_alignment(bdev);
}

bool kapi_bdev_write_cache(struct block_device *bdev)
{
	return bdev_write_cache(bdev);
}

bool kapi_bdev_fua(struct block_device *bdev)
{
	return bdev_fua(bdev);
}

bool kapi_bdev_is_zoned(struct block_device *bdev)
{
	return bdev_is_zoned(bdev);
}

unsigned int kapi_bdev_max_discard_sectors(struct block_device *bdev)
{
	return bdev_max_discard_sectors(bdev);
}

bool kapi_bdev_dead(struct block_device *bdev)
{
	return test_bit(GD_DEAD, &bdev->bd_disk->state) ||
	       blk_queue_dying(bdev_get_queue(bdev));
}

int kapi_bdev_name(struct block_device *bdev, char *buf, size_t size)
{
	return scnprintf(buf, size, "%pg", bdev);
}

/* pr.rs: NULL if there are none; a partition has none of its own. */
const struct pr_ops *kapi_bdev_pr_ops(struct block_device *bdev)
{
	return bdev_is_partition(bdev) ? NULL : bdev->bd_disk->fops->pr_ops;
}

/* pmem.rs */

bool kapi_cpu_has_crc32(void)
{
#ifdef CONFIG_X86_64
	return boot_cpu_has(X86_FEATURE_XMM4_2);
#else
	return false;
#endif
}

void kapi_memcpy_flushcache(void *dst, const void *src, size_t len)
{
	memcpy_flushcache(dst, src, len);
}

void kapi_pmem_wmb(void)
{
	pmem_wmb();
}

const void *kapi_zero_page(void)
{
	return page_address(ZERO_PAGE(0));
}

struct page *kapi_pfn_to_page(unsigned long pfn)
{
	return pfn_valid(pfn) ? pfn_to_page(pfn) : NULL;
}

void kapi_pgmap_get(struct dev_pagemap *pgmap)
{
	percpu_ref_get(&pgmap->ref);
}

void kapi_pgmap_put(struct dev_pagemap *pgmap)
{
	put_dev_pagemap(pgmap);
}

/* net.rs */

struct net *kapi_get_current_net(void)
{
	return get_net(current->nsproxy->net_ns);
}

void kapi_get_net(struct net *net)
{
	get_net(net);
}

void kapi_put_net(struct net *net)
{
	put_net(net);
}

/* The socket may be used on the way to free memory: it must not wait for that memory. */
void kapi_sock_noio(struct socket *sock)
{
	struct sock *sk = sock->sk;

	lock_sock(sk);
	sk->sk_allocation = GFP_NOIO;
	sk->sk_use_task_frag = false;
	release_sock(sk);
}

/*
 * The waits return what is left of the timeout (at least 1), 0 when it passed, and
 * -ERESTARTSYS for a signal. They also end, as if the condition held, when the calling
 * kernel thread is told to stop: the caller asks kapi_should_stop().
 */

long kapi_wait_connected(struct socket *sock, long timeout)
{
	struct sock *sk = sock->sk;

	return wait_event_interruptible_timeout(*sk_sleep(sk),
		!((1 << READ_ONCE(sk->sk_state)) & (TCPF_SYN_SENT | TCPF_SYN_RECV)) ||
		kapi_should_stop(), timeout);
}

long kapi_wait_acceptable(struct socket *sock, long timeout)
{
	struct sock *sk = sock->sk;

	return wait_event_interruptible_timeout(*sk_sleep(sk),
		!reqsk_queue_empty(&inet_csk(sk)->icsk_accept_queue) ||
		READ_ONCE(sk->sk_state) != TCP_LISTEN ||
		kapi_should_stop(), timeout);
}

bool kapi_sock_listening(struct socket *sock)
{
	return READ_ONCE(sock->sk->sk_state) == TCP_LISTEN;
}

bool kapi_sock_readable(struct socket *sock)
{
	struct sock *sk = sock->sk;

	return !skb_queue_empty_lockless(&sk->sk_receive_queue) ||
		READ_ONCE(sk->sk_err) ||
		(READ_ONCE(sk->sk_shutdown) & RCV_SHUTDOWN) ||
		READ_ONCE(sk->sk_state) == TCP_CLOSE;
}

long kapi_wait_readable(struct socket *sock, long timeout)
{
	return wait_event_interruptible_timeout(*sk_sleep(sock->sk),
		kapi_sock_readable(sock) || kapi_should_stop(), timeout);
}

long kapi_wait_writable(struct socket *sock, long timeout)
{
	struct sock *sk = sock->sk;

	return wait_event_interruptible_timeout(*sk_sleep(sk),
		sk_stream_is_writeable(sk) ||
		READ_ONCE(sk->sk_err) ||
		(READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN) ||
		READ_ONCE(sk->sk_state) == TCP_CLOSE ||
		kapi_should_stop(), timeout);
}

/* event.rs, thread.rs */

bool kapi_should_stop(void)
{
	return (current->flags & PF_KTHREAD) && kthread_should_stop();
}

/*
 * Waits until *signalled is 1, makes it 0 and returns at least 1; or returns 0 when the
 * timeout passed or, if stoppable, when the calling kernel thread is told to stop.
 */
long kapi_event_wait(struct wait_queue_head *wq, int *signalled, bool stoppable, long timeout)
{
	bool got = false;

	timeout = wait_event_idle_timeout(*wq,
		(got = xchg(signalled, 0)) || (stoppable && kapi_should_stop()), timeout);
	return got ? max(timeout, 1L) : 0;
}

void kapi_wake_up(struct wait_queue_head *wq)
{
	/* The caller's exchange is a full barrier: it sees the waiter or the waiter sees it. */
	if (waitqueue_active(wq))
		wake_up(wq);
}

unsigned int kapi_noio_save(void)
{
	return memalloc_noio_save();
}

void kapi_noio_restore(unsigned int flags)
{
	memalloc_noio_restore(flags);
}

/* time.rs, cpu.rs */

unsigned long kapi_msecs_to_jiffies(unsigned int ms)
{
	return msecs_to_jiffies(ms);
}

unsigned int kapi_num_online_cpus(void)
{
	return num_online_cpus();
}

/* 0 where the processors' counters are not in step. */
unsigned int kapi_tsc_khz(void)
{
#ifdef CONFIG_X86_TSC
	return check_tsc_unstable() ? 0 : tsc_khz;
#else
	return 0;
#endif
}

/* percpu.rs: to Rust, an address in processors' own memory is a plain one that is not followed. */

u64 *kapi_percpu_alloc(size_t counters)
{
	return (__force u64 *)(unsigned long)__alloc_percpu(array_size(counters, sizeof(u64)), sizeof(u64));
}

void kapi_percpu_free(u64 *base)
{
	free_percpu((__force u64 __percpu *)(unsigned long)base);
}

void kapi_percpu_count(u64 *base, size_t counter, size_t sum, u64 amount)
{
	u64 __percpu *c = (__force u64 __percpu *)(unsigned long)base;

	this_cpu_inc(c[counter]);
	this_cpu_add(c[sum], amount);
}

u64 kapi_percpu_sum(u64 *base, size_t counter)
{
	u64 __percpu *c = (__force u64 __percpu *)(unsigned long)base;
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr(c + counter, cpu));
	return sum;
}

/* global.rs: one mutex for all of a level. */
static DEFINE_MUTEX(kapi_globals_0);
static DEFINE_MUTEX(kapi_globals_1);

void kapi_global_lock(unsigned int level)
{
	mutex_lock(level ? &kapi_globals_1 : &kapi_globals_0);
}

void kapi_global_unlock(unsigned int level)
{
	mutex_unlock(level ? &kapi_globals_1 : &kapi_globals_0);
}

/* blkdev.rs: a kernel thread's root is the empty one in which it was started. */
struct file *kapi_bdev_open(const char *path, blk_mode_t mode, void *holder)
{
	if (!(current->flags & PF_KTHREAD))
		return bdev_file_open_by_path(path, mode, holder, NULL);
	scoped_with_init_fs()
		return bdev_file_open_by_path(path, mode, holder, NULL);
	unreachable();
}
