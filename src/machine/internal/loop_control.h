// Loop control: what a guest may not ask of the loop devices behind its volumes.
#pragma once

namespace kiln::machine {

// From now on this process and all that it starts get EPERM for every loop(4) ioctl. A device that its guest gave back
// could become another guest's disk, and the first one still had its node. False when the kernel cannot do that.
bool forbid_loop_control();

}  // namespace kiln::machine
