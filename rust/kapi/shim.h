/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Functions for what the kernel offers only as macros and inline functions. Nothing is
 * decided here: each does what its name says and has one caller in the Rust file named.
 */
#ifndef KAPI_SHIM_H
#define KAPI_SHIM_H

#include <linux/types.h>

struct bio;
struct bio_vec;
struct block_device;
struct bvec_iter;
struct dev_pagemap;
struct net;
struct page;
struct pr_ops;
struct socket;
struct task_struct;
struct wait_queue_head;

/* bio.rs */
void kapi_bio_set_dev(struct bio *bio, struct block_device *bdev);
void *kapi_bio_map_piece(struct bio *bio, struct bvec_iter *iter, size_t *len);
void kapi_unmap_piece(void *addr);

/* blkdev.rs */
sector_t kapi_bdev_nr_sectors(struct block_device *bdev);
unsigned int kapi_bdev_logical_block_size(struct block_device *bdev);
unsigned int kapi_bdev_dma_alignment(struct block_device *bdev);
bool kapi_bdev_write_cache(struct block_device *bdev);
bool kapi_bdev_fua(struct block_device *bdev);
bool kapi_bdev_is_zoned(struct block_device *bdev);
unsigned int kapi_bdev_max_discard_sectors(struct block_device *bdev);
bool kapi_bdev_dead(struct block_device *bdev);
int kapi_bdev_name(struct block_device *bdev, char *buf, size_t size);

/* pr.rs */
const struct pr_ops *kapi_bdev_pr_ops(struct block_device *bdev);

/* pmem.rs */
bool kapi_cpu_has_crc32(void);
void kapi_memcpy_flushcache(void *dst, const void *src, size_t len);
void kapi_pmem_wmb(void);
const void *kapi_zero_page(void);
struct page *kapi_pfn_to_page(unsigned long pfn);
void kapi_pgmap_get(struct dev_pagemap *pgmap);
void kapi_pgmap_put(struct dev_pagemap *pgmap);

/* net.rs */
struct net *kapi_get_current_net(void);
void kapi_get_net(struct net *net);
void kapi_put_net(struct net *net);
void kapi_sock_noio(struct socket *sock);
long kapi_wait_connected(struct socket *sock, long timeout);
long kapi_wait_acceptable(struct socket *sock, long timeout);
bool kapi_sock_readable(struct socket *sock);
long kapi_wait_readable(struct socket *sock, long timeout);
long kapi_wait_writable(struct socket *sock, long timeout);
bool kapi_sock_listening(struct socket *sock);

/* event.rs, thread.rs */
bool kapi_should_stop(void);
long kapi_event_wait(struct wait_queue_head *wq, int *signalled, bool stoppable, long timeout);
void kapi_wake_up(struct wait_queue_head *wq);
unsigned int kapi_noio_save(void);
void kapi_noio_restore(unsigned int flags);

/* blkdev.rs */
struct file *kapi_bdev_open(const char *path, blk_mode_t mode, void *holder);

/* percpu.rs */
u64 *kapi_percpu_alloc(size_t counters);
void kapi_percpu_free(u64 *base);
void kapi_percpu_count(u64 *base, size_t counter, size_t sum, u64 amount);
u64 kapi_percpu_sum(u64 *base, size_t counter);

/* global.rs */
void kapi_global_lock(unsigned int level);
void kapi_global_unlock(unsigned int level);

/* time.rs, cpu.rs */
unsigned long kapi_msecs_to_jiffies(unsigned int ms);
unsigned int kapi_num_online_cpus(void);
unsigned int kapi_tsc_khz(void);

#endif /* KAPI_SHIM_H */
