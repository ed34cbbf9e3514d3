# What the house asks of its own code.

# Each public header stands alone, in both languages. The header itself is the
# source: nothing that was included before can help it.
file(GLOB headers CONFIGURE_DEPENDS ${root}/include/peal/*.h)
foreach(header IN LISTS headers)
    cmake_path(GET header STEM name)
    set(compile ${CMAKE_C_COMPILER} -Wall -Wextra -Wpedantic -Wconversion
        -Werror -fsyntax-only -I${root}/include)
    add_test(NAME header.${name}.c11
        COMMAND ${compile} -x c -std=c11 ${header})
    add_test(NAME header.${name}.cxx20
        COMMAND ${compile} -x c++ -std=c++20 ${header})
    set_tests_properties(header.${name}.c11 header.${name}.cxx20 PROPERTIES
        LABELS header)
endforeach()

set(checks layers symbols docs format)
# A program of a user's is not built with our sanitizers.
if(TARGET peal_static AND NOT PEAL_SANITIZE AND NOT PEAL_COVERAGE)
    list(APPEND checks install)
endif()
foreach(check IN LISTS checks)
    add_test(NAME house.${check}
        COMMAND ${root}/scripts/check-${check} ${PROJECT_BINARY_DIR}
        WORKING_DIRECTORY ${root})
    set_tests_properties(house.${check} PROPERTIES LABELS house)
endforeach()
