/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads: the kernel headers that the kernel crate's own bindings leave out,
 * and the constants which bindgen cannot evaluate because they hide behind a cast.
 */

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/crc32c.h>
#include <linux/dax.h>
#include <linux/device-mapper.h>
#include <linux/kthread.h>
#include <linux/memremap.h>
#include <linux/net.h>
#include <linux/pr.h>
#include <linux/sched/clock.h>
#include <linux/tcp.h>
#include <net/sock.h>
#include <net/tcp.h>

#include "genl.h"
#include "shim.h"
#include "rcopy_trace.h"

const blk_status_t KAPI_CONST_BLK_STS_NOTSUPP = BLK_STS_NOTSUPP;
const blk_status_t KAPI_CONST_BLK_STS_TIMEOUT = BLK_STS_TIMEOUT;
const blk_status_t KAPI_CONST_BLK_STS_NOSPC = BLK_STS_NOSPC;
const blk_status_t KAPI_CONST_BLK_STS_TRANSPORT = BLK_STS_TRANSPORT;
const blk_status_t KAPI_CONST_BLK_STS_TARGET = BLK_STS_TARGET;
const blk_status_t KAPI_CONST_BLK_STS_RESV_CONFLICT = BLK_STS_RESV_CONFLICT;
const blk_status_t KAPI_CONST_BLK_STS_MEDIUM = BLK_STS_MEDIUM;
const blk_status_t KAPI_CONST_BLK_STS_RESOURCE = BLK_STS_RESOURCE;
const blk_status_t KAPI_CONST_BLK_STS_IOERR = BLK_STS_IOERR;
const blk_status_t KAPI_CONST_BLK_STS_DM_REQUEUE = BLK_STS_DM_REQUEUE;
const blk_status_t KAPI_CONST_BLK_STS_AGAIN = BLK_STS_AGAIN;
const blk_status_t KAPI_CONST_BLK_STS_OFFLINE = BLK_STS_OFFLINE;
const blk_status_t KAPI_CONST_BLK_STS_INVAL = BLK_STS_INVAL;

const blk_opf_t KAPI_CONST_REQ_FUA = REQ_FUA;
const blk_opf_t KAPI_CONST_REQ_PREFLUSH = REQ_PREFLUSH;
const blk_opf_t KAPI_CONST_REQ_SYNC = REQ_SYNC;
const blk_opf_t KAPI_CONST_REQ_META = REQ_META;
const blk_opf_t KAPI_CONST_REQ_OP_MASK = REQ_OP_MASK;

const blk_mode_t KAPI_CONST_BLK_OPEN_READ = BLK_OPEN_READ;
const blk_mode_t KAPI_CONST_BLK_OPEN_WRITE = BLK_OPEN_WRITE;

const blk_features_t KAPI_CONST_BLK_FEAT_STABLE_WRITES = BLK_FEAT_STABLE_WRITES;
const blk_features_t KAPI_CONST_BLK_FEAT_POLL = BLK_FEAT_POLL;

const gfp_t KAPI_CONST_GFP_NOIO = GFP_NOIO;
