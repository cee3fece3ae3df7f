# How the tests of this folder run: FileCheck over the output of loopc-opt and loopc.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import os
import sys

import lit.formats

config.name = "loopc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".loop", ".test"]
config.excludes = ["Inputs", "tools", "models", "data", "conformance", "corpus", "CMakeLists.txt", "README.md"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.loopc_binary_dir, "test")

config.environment["PATH"] = os.pathsep.join(
    [os.path.join(config.loopc_binary_dir, "bin"), config.llvm_tools_dir, config.environment.get("PATH", "")]
)
config.substitutions.append(("%python", sys.executable))
config.substitutions.append(("%models", os.path.join(config.loopc_source_dir, "models")))
config.substitutions.append(("%root", config.loopc_source_dir))
