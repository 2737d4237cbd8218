// SPDX-License-Identifier: GPL-2.0
/*
 * Makes the mistake that the parameter names, once, while it loads. Only for the debug kernel in a
 * virtual machine: some of them end it.
 */

#include <linux/delay.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

/* mistakes.rs */
u32 plant_rust_use_after_free(void);
u32 plant_rust_out_of_bounds(size_t i);
void plant_rust_leak(void);
u32 plant_rust_overflow(u32 n);

static char *mistake = "";
module_param(mistake, charp, 0444);
MODULE_PARM_DESC(mistake, "which one to make");

/* What the compiler may not know, and where results go that nobody reads. */
static volatile u32 four = 4, sink;

static void use_after_free(void)
{
	u32 *p = kmalloc(64, GFP_KERNEL);

	if (!p)
		return;
	kfree(p);
	sink = READ_ONCE(*p);
}

static void rust_use_after_free(void)
{
	sink = plant_rust_use_after_free();
}

static void rust_out_of_bounds(void)
{
	sink = plant_rust_out_of_bounds(four * four);
}

static void inversion(void)
{
	static DEFINE_MUTEX(a);
	static DEFINE_MUTEX(b);

	mutex_lock(&a);
	mutex_lock(&b);
	mutex_unlock(&b);
	mutex_unlock(&a);

	mutex_lock(&b);
	mutex_lock(&a);
	mutex_unlock(&a);
	mutex_unlock(&b);
}

static void atomic_sleep(void)
{
	static DEFINE_SPINLOCK(lock);
	void *p;

	spin_lock(&lock);
	p = kmalloc(64, GFP_KERNEL);
	spin_unlock(&lock);
	kfree(p);
}

static void rcu_unlocked(void)
{
	static u32 __rcu *p;

	sink = !!rcu_dereference(p);
}

static void bad_index(void)
{
	/* The neighbour keeps KASAN quiet: only UBSAN knows where the first one ends. */
	static struct {
		u32 first[4], neighbour[4];
	} s;

	sink = s.first[four];
}

static void twice_deleted(void)
{
	static LIST_HEAD(list);
	static LIST_HEAD(entry);

	list_add(&entry, &list);
	list_del(&entry);
	list_del(&entry);
}

static void hangs(void)
{
	schedule_timeout_uninterruptible(10 * HZ);
}

static void spins(void)
{
	int i;

	preempt_disable();
	for (i = 0; i < 10; i++)
		mdelay(1000);
	preempt_enable();
}

/* Of different sizes: a stale pointer somewhere keeps one from being seen, not all. */
static noinline void leak(void)
{
	size_t size;

	for (size = 64; size <= 4096; size *= 2)
		sink = !kzalloc(size, GFP_KERNEL);
}

static void rust_overflow(void)
{
	sink = plant_rust_overflow(four - 5);
}

static const struct {
	const char *name;
	void (*make)(void);
} mistakes[] = {
	{ "use_after_free", use_after_free },
	{ "rust_use_after_free", rust_use_after_free },
	{ "rust_out_of_bounds", rust_out_of_bounds },
	{ "inversion", inversion },
	{ "atomic_sleep", atomic_sleep },
	{ "rcu_unlocked", rcu_unlocked },
	{ "bad_index", bad_index },
	{ "twice_deleted", twice_deleted },
	{ "hangs", hangs },
	{ "spins", spins },
	{ "leak", leak },
	{ "rust_leak", plant_rust_leak },
	{ "rust_overflow", rust_overflow },
};

static int __init plant_init(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(mistakes); i++) {
		if (!strcmp(mistake, mistakes[i].name)) {
			mistakes[i].make();
			return 0;
		}
	}
	return -EINVAL;
}

static void __exit plant_exit(void)
{
}

module_init(plant_init);
module_exit(plant_exit);
MODULE_DESCRIPTION("one mistake, for a kernel that should notice it");
MODULE_LICENSE("GPL");
